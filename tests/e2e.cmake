# The whole service, from the outside: real CAs, a real resolver, curl, namespaces.
py_test(e2e/test_issue.py TIMEOUT 300)
