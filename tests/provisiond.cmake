# Tests of provisiond/, and the small programs they drive.
add_executable(acme_drive ${CMAKE_SOURCE_DIR}/tests/lib/acme_drive.c)
set_target_properties(acme_drive PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_link_libraries(acme_drive PRIVATE provisiond_acme provisiond_core provisiond_local)

py_test(integration/test_acme.py TIMEOUT 300)
