# Tests of common/, and the small programs they drive.
add_executable(httpd_server ${CMAKE_SOURCE_DIR}/tests/lib/httpd_server.c)
set_target_properties(httpd_server PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_link_libraries(httpd_server PRIVATE httpd pki)

unit_test(common/net/fetch DEPS fetch httpd pki)
unit_test(common/net/resolve DEPS resolve)
fuzz_target(httpmsg DEPS httpd)
py_test(integration/test_httpd.py TIMEOUT 180)

foreach(noun err log buf span clock secret base32 b64url file)
    unit_test(common/base/${noun} DEPS base)
endforeach()
unit_test(common/store/challenge DEPS store)
