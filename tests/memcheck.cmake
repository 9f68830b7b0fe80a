# The unit tests once more under valgrind, which sees what AddressSanitizer does not: reads of memory
# that was never written. Included last, so that every part's tests are known.
find_program(VALGRIND valgrind)
# The first spend their time in OpenSSL's big numbers, making keys; the two before
# the last start something some hundred times over; the last would forbid valgrind its own system calls.
set(MEMCHECK_EXCLUDED unit_provisiond_core_csr unit_provisiond_local_localca unit_provisiond_acme_jws
    unit_common_pki_key unit_provisiond_core_jwt unit_agent_core_issued unit_agent_certstore_crash
    unit_agent_agent unit_agent_router_sandbox)
if(VALGRIND AND NOT LANYARD_SANITIZE)
    get_property(targets DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} PROPERTY BUILDSYSTEM_TARGETS)
    foreach(target ${targets})
        if(target MATCHES "^unit_" AND NOT target IN_LIST MEMCHECK_EXCLUDED)
            string(REPLACE "unit_" "" name ${target})
            add_test(NAME memcheck/${name}
                COMMAND ${VALGRIND} -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite
                    --trace-children=no $<TARGET_FILE:${target}>)
            set_tests_properties(memcheck/${name} PROPERTIES TIMEOUT 600 LABELS memcheck)
        endif()
    endforeach()
endif()
