# Tests of provisiond/, and the small programs they drive.
foreach(name backoff chain csr gcra order token)
    unit_test(provisiond/core/${name} DEPS provisiond_core)
endforeach()
foreach(name account errors jws message nonce)
    unit_test(provisiond/acme/${name} DEPS provisiond_acme)
endforeach()
foreach(name local localca)
    unit_test(provisiond/local/${name} DEPS provisiond_local provisiond_core)
endforeach()
unit_test(provisiond/store/store DEPS provisiond_store)
# the same suite on the other driver
add_test(NAME unit/provisiond/store/store_postgres
    COMMAND /usr/bin/python3 ${CMAKE_SOURCE_DIR}/tests/lib/with_postgres.py $<TARGET_FILE:unit_provisiond_store_store>)
set_tests_properties(unit/provisiond/store/store_postgres PROPERTIES TIMEOUT 120 LABELS unit SKIP_RETURN_CODE 77
    ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
fuzz_target(acmemsg DEPS provisiond_acme)
fuzz_target(csr DEPS provisiond_core)

add_executable(acme_drive ${CMAKE_SOURCE_DIR}/tests/lib/acme_drive.c)
set_target_properties(acme_drive PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_link_libraries(acme_drive PRIVATE provisiond_acme provisiond_core provisiond_local)
py_test(integration/test_acme.py TIMEOUT 300)
py_test(integration/test_acme_hostile.py TIMEOUT 120)
py_test(integration/test_provisiond.py TIMEOUT 120)
py_test(integration/test_provisiond_ca.py TIMEOUT 300)
py_test(integration/test_provisiond_status.py TIMEOUT 240)
