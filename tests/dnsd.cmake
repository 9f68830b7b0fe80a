# Tests of dnsd/ and common/dns/.
foreach(name name iplabel tag wire)
    unit_test(common/dns/${name} DEPS dns)
endforeach()
foreach(name frame suspended persist synth zone zonetext view cookie rrl shield query rrsig sigcache canon denial)
    unit_test(dnsd/core/${name} DEPS dnsd_core PkgConfig::LDNS)
    target_include_directories(unit_dnsd_core_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
endforeach()
unit_test(dnsd/conn DEPS dnsd_shell)
unit_test(dnsd/tally DEPS dnsd_shell)
unit_test(dnsd/signwatch DEPS dnsd_shell PkgConfig::LDNS)
target_include_directories(unit_dnsd_signwatch PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
unit_test(dnsd/keyfile DEPS dnsd_shell PkgConfig::LDNS)
target_include_directories(unit_dnsd_keyfile PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
unit_test(dnsd/reader DEPS dnsd_shell PkgConfig::LDNS)
target_include_directories(unit_dnsd_reader PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
# the query test counts allocations
target_link_options(unit_dnsd_core_query PRIVATE
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc)

fuzz_target(name DEPS dns)
fuzz_target(iplabel DEPS dnsd_core)
fuzz_target(frame DEPS dnsd_core)
fuzz_target(zonetext DEPS dnsd_core)
fuzz_target(query DEPS dnsd_core PkgConfig::LDNS)
fuzz_target(query_signed DEPS dnsd_core PkgConfig::LDNS)
foreach(target replay_query fuzz_query replay_query_signed fuzz_query_signed)
    if(TARGET ${target})
        target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
    endif()
endforeach()

foreach(name dnsd dnsd_table dnsd_challenge dnsd_config dnsd_guard dnsd_abuse dnsd_tcp dnsd_tls dnsd_dnssec dnsd_signing dnsd_dnsviz dnsd_status dnsd_service dnsd_xdp)
    py_test(integration/test_${name}.py TIMEOUT 600)
endforeach()
# what is answered for whom, and where challenges come from
foreach(name dnsd_edge dnsd_persist dnsd_policy dnsd_postgres dnsd_resolvers)
    py_test(integration/test_${name}.py TIMEOUT 600)
endforeach()

# Races between its threads, in a build of its own with ThreadSanitizer; once, beside the plain build.
find_program(CLANG clang)
if(CLANG AND NOT LANYARD_SANITIZE AND NOT LANYARD_TSAN)
    add_test(NAME tsan/dnsd COMMAND ${CMAKE_SOURCE_DIR}/tests/tsan/run ${CMAKE_BINARY_DIR}/tsan)
    set_tests_properties(tsan/dnsd PROPERTIES TIMEOUT 1800 LABELS tsan)
endif()

# Case 1: 5 times 100,000 broken packets to the contract of the answer path.
add_executable(mutate_query ${CMAKE_SOURCE_DIR}/tests/fuzz/query.c ${CMAKE_SOURCE_DIR}/tests/fuzz/mutate.c)
set_target_properties(mutate_query PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_link_libraries(mutate_query PRIVATE lanyard_flags dnsd_core PkgConfig::LDNS)
target_include_directories(mutate_query PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
add_test(NAME fuzz/mutate/query
    COMMAND mutate_query 100000 1 2 3 4 5 ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/query)
set_tests_properties(fuzz/mutate/query PROPERTIES TIMEOUT 600 LABELS fuzz)

# Case 11, where no sanitizer has an allocator of its own.
if(NOT LANYARD_SANITIZE AND NOT LANYARD_TSAN)
    add_library(failmalloc MODULE ${CMAKE_SOURCE_DIR}/tests/lib/failmalloc.c)
    set_target_properties(failmalloc PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(failmalloc PRIVATE lanyard_flags)
    py_test(integration/test_dnsd_memory.py TIMEOUT 600)
    set_tests_properties(integration/test_dnsd_memory PROPERTIES LABELS memory)
    set_property(TEST integration/test_dnsd_memory APPEND PROPERTY
        ENVIRONMENT LANYARD_FAILMALLOC=$<TARGET_FILE:failmalloc>)
    # how much memory a flood costs
    py_test(integration/test_dnsd_signing.py TIMEOUT 600 ONLY random_names LABEL small)
endif()
py_test(integration/test_offline.py TIMEOUT 600)
