# Tests of the agent.
foreach(name lifecycle backoff renewal answer issued)
    unit_test(agent/core/${name} DEPS agent_core)
endforeach()
fuzz_target(answer DEPS agent_core)
foreach(name certstore certstore_crash journal)
    unit_test(agent/${name} DEPS agent_shell)
endforeach()
set_tests_properties(unit/agent/certstore_crash PROPERTIES TIMEOUT 240)
# valgrind's own system calls would be counted, too
list(APPEND MEMCHECK_EXCLUDED unit_agent_certstore_crash)
py_test(integration/test_agent_hostile.py TIMEOUT 300)
py_test(integration/test_agent_proxy.py TIMEOUT 300)
py_test(integration/test_agent.py TIMEOUT 300)
