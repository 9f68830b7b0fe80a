# musl-gcc, Debian's wrapper of gcc for musl, with the libraries that musl-libraries left in MUSL_PREFIX.
set(CMAKE_C_COMPILER musl-gcc)
set(CMAKE_PREFIX_PATH $ENV{MUSL_PREFIX})
set(CMAKE_C_FLAGS_INIT "-isystem $ENV{MUSL_PREFIX}/include")
set(CMAKE_EXE_LINKER_FLAGS_INIT "-L$ENV{MUSL_PREFIX}/lib -Wl,-rpath,$ENV{MUSL_PREFIX}/lib") # cmocka is shared
set(CMAKE_SHARED_LINKER_FLAGS_INIT -L$ENV{MUSL_PREFIX}/lib)
set(CMAKE_C_STANDARD_LIBRARIES "-lssl -lcrypto") # static libcurl's and libevent's, which do not name them
set(ENV{PKG_CONFIG_LIBDIR} $ENV{MUSL_PREFIX}/lib/pkgconfig)
