# arenascan_add_fuzzer(NAME SOURCE...): a libFuzzer program that finds the leaks of each input. Needs clang.
function(arenascan_add_fuzzer name)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "arenascan_add_fuzzer(${name}): libFuzzer comes with clang, and this is configured with "
                        "${CMAKE_CXX_COMPILER_ID}; try CC=clang CXX=clang++ cmake ...")
  endif()
  add_executable(${name} ${ARGN})
  target_compile_options(${name} PRIVATE -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer -Wl,--wrap=LLVMFuzzerTestOneInput)
  target_link_libraries(${name} PRIVATE arenascan::fuzzer arenascan::lsan)
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()
