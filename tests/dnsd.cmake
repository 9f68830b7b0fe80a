# Tests of dnsd/ and common/dns/.
foreach(name name iplabel wire)
    unit_test(common/dns/${name} DEPS dns)
endforeach()
foreach(name synth zone view)
    unit_test(dnsd/core/${name} DEPS dnsd_core PkgConfig::LDNS)
    target_include_directories(unit_dnsd_core_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/lib)
endforeach()
