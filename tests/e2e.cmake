# The whole service, from the outside: real CAs, a real resolver, curl, namespaces.
py_test(e2e/test_issue.py TIMEOUT 600)
py_test(e2e/test_revoke.py TIMEOUT 600)
py_test(e2e/test_faults.py TIMEOUT 900)
py_test(e2e/test_hostile_csr.py TIMEOUT 600)
py_test(e2e/test_quickstart.py TIMEOUT 1800)
py_test(e2e/test_config.py TIMEOUT 600)
py_test(e2e/test_device_life.py TIMEOUT 600)
py_test(e2e/test_report.py TIMEOUT 600)
# It waits for certificates of a minute to end: begun early, the others run beside it.
py_test(e2e/test_year.py TIMEOUT 600)
set_tests_properties(e2e/test_year PROPERTIES COST 900)
# It mostly waits for back-offs to pass: begun first, the others run beside it.
set_tests_properties(e2e/test_faults PROPERTIES COST 1000)
py_test(e2e/test_store_faults.py TIMEOUT 600)
py_test(e2e/test_two_nodes.py TIMEOUT 600)
py_test(e2e/test_kill.py TIMEOUT 600)
