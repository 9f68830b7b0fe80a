# The whole service, from the outside: real CAs, a real resolver, curl, namespaces.
py_test(e2e/test_issue.py TIMEOUT 300)
py_test(e2e/test_faults.py TIMEOUT 900)
py_test(e2e/test_hostile_csr.py TIMEOUT 120)
py_test(e2e/test_quickstart.py TIMEOUT 900)
py_test(e2e/test_config.py TIMEOUT 120)
py_test(e2e/test_device_life.py TIMEOUT 240)
