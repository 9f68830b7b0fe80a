# The companion in real browsers.
foreach(name library page scenarios playwright)
    py_test(browser/test_${name}.py TIMEOUT 900)
    # run where the programs have the sanitizers
    set_tests_properties(browser/test_${name} PROPERTIES LABELS integration)
endforeach()
