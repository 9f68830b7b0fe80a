# Form: layout, size, style. Looks at the sources, not at a build.
foreach(name layout size form options tables)
    py_test(lint/test_${name}.py TIMEOUT 600)
endforeach()
