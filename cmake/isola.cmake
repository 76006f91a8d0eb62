# Flags and helpers shared by all folders.

set(ISOLA_WARNINGS -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Werror)
set(ISOLA_C_WARNINGS ${ISOLA_WARNINGS} -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wno-sign-conversion)

add_library(isola_options INTERFACE)
target_include_directories(isola_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(isola_options INTERFACE _GNU_SOURCE ISOLA_VERSION="${PROJECT_VERSION}")
target_compile_options(isola_options INTERFACE
  -fno-omit-frame-pointer
  "$<$<COMPILE_LANGUAGE:C>:${ISOLA_C_WARNINGS}>"
  "$<$<COMPILE_LANGUAGE:CXX>:${ISOLA_WARNINGS};-Wno-shadow;-Wno-missing-field-initializers>")
if(ISOLA_SANITIZE)
  add_compile_options(-fsanitize=${ISOLA_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${ISOLA_SANITIZE})
  if(CMAKE_C_COMPILER_ID MATCHES Clang)
    add_compile_options(-fno-sanitize=pointer-overflow) # to it NULL + 0, an empty slice's end, is one
  endif()
endif()

# What a Node.js that is to load our addons has to load before all else.
set(ISOLA_PRELOAD "")
if(ISOLA_SANITIZE MATCHES "address")
  foreach(library asan ubsan)
    execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=lib${library}.so
      OUTPUT_VARIABLE path OUTPUT_STRIP_TRAILING_WHITESPACE)
    list(APPEND ISOLA_PRELOAD ${path})
  endforeach()
  list(JOIN ISOLA_PRELOAD " " ISOLA_PRELOAD)
endif()

# The actor-host is optimized as a whole, which messages gain 5 % by; what else is made of the same libraries takes the machine code that is in
# them as well, so that dozens of tests are not each optimized anew.
set(ISOLA_WHOLE ON)
if(ISOLA_SANITIZE OR NOT CMAKE_C_COMPILER_ID STREQUAL GNU)
  set(ISOLA_WHOLE OFF)
else()
  add_link_options(-fno-lto) # the actor-host says otherwise
endif()
function(isola_whole)
  if(ISOLA_WHOLE)
    foreach(name ${ARGN})
      target_compile_options(${name} PRIVATE -flto -ffat-lto-objects)
    endforeach()
  endif()
endfunction()

# isola_library(name SOURCES… [PUBLIC libraries…]): a folder's C as a static, position-independent library.
# Headers of libuv are Debian's: libuv keeps its ABI within 1.x, so the same objects serve the agent (Debian's libuv) and
# the actor-host (the newer libuv inside the pinned Node.js).
function(isola_library name)
  cmake_parse_arguments(L "" "" "SOURCES;LIBS" ${ARGN})
  add_library(${name} STATIC ${L_SOURCES})
  target_link_libraries(${name} PUBLIC isola_options ${L_LIBS})
endfunction()

# isola_executable(name SOURCES… LIBS…): into build/bin.
function(isola_executable name)
  cmake_parse_arguments(X "" "" "SOURCES;LIBS" ${ARGN})
  add_executable(${name} ${X_SOURCES})
  target_link_libraries(${name} PRIVATE isola_options ${X_LIBS})
endfunction()
