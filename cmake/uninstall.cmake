# `make uninstall`: removes from DESTDIR/PREFIX what `make install` of this build writes there, and the folders that are isola's alone once they are
# empty. What somebody else has put beside it stays. cmake -DBUILD=DIR -DPREFIX=DIR [-DDESTDIR=DIR] -P cmake/uninstall.cmake
#
# Which files those are, an installation into a scratch directory says: nothing has to be kept from the one that is removed.
cmake_minimum_required(VERSION 3.25)

set(stage ${BUILD}/uninstall)
file(REMOVE_RECURSE ${stage})
execute_process(COMMAND ${CMAKE_COMMAND} -E env DESTDIR=${stage} ${CMAKE_COMMAND} --install ${BUILD} --prefix ${PREFIX}
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE paths LIST_DIRECTORIES true RELATIVE ${stage} ${stage}/*)
list(SORT paths ORDER DESCENDING) # what is in a folder before the folder
set(removed 0)
foreach(path ${paths})
  set(there "${DESTDIR}/${path}")
  if(NOT IS_DIRECTORY ${stage}/${path} OR IS_SYMLINK ${stage}/${path})
    if(EXISTS ${there} OR IS_SYMLINK ${there})
      file(REMOVE ${there})
      math(EXPR removed "${removed} + 1")
    endif()
  elseif(path MATCHES "(^|/)isola(/|$)" AND EXISTS ${there})
    file(GLOB left LIST_DIRECTORIES true ${there}/* ${there}/.*)
    list(FILTER left EXCLUDE REGEX "/\\.\\.?$")
    if(NOT left)
      file(REMOVE_RECURSE ${there})
    endif()
  endif()
endforeach()
file(REMOVE_RECURSE ${stage})
message(STATUS "removed ${removed} files from ${DESTDIR}${PREFIX}")
