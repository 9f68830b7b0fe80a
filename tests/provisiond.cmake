# Tests of provisiond/.
foreach(name order backoff gcra token)
    unit_test(provisiond/core/${name} DEPS provisiond_core)
endforeach()
unit_test(provisiond/store/store DEPS provisiond_store)
