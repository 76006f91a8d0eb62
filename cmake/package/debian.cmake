# Run by CPack when the files lie below CPACK_TEMPORARY_DIRECTORY: what Debian's policy wants of a package in place of what `make install` gives.
set(top ${CPACK_TEMPORARY_DIRECTORY})
set(here ${CMAKE_CURRENT_LIST_DIR})
set(doc ${top}/usr/share/doc/isola)

configure_file(${here}/isola.default ${top}/etc/default/isola COPYONLY)
configure_file(${here}/lintian-overrides ${top}/usr/share/lintian/overrides/isola COPYONLY)

# Units of packages are looked for in /lib by Debian 12's own tools.
file(MAKE_DIRECTORY ${top}/lib/systemd)
file(RENAME ${top}/usr/lib/systemd/system ${top}/lib/systemd/system)
file(REMOVE_RECURSE ${top}/usr/lib/systemd)

# And zsh's functions of packages here.
file(RENAME ${top}/usr/share/zsh/site-functions ${top}/usr/share/zsh/vendor-completions)

# One file for all licences.
file(READ ${here}/copyright copyright)
file(READ ${doc}/LICENSE.node node)
file(READ ${doc}/LICENSE.esbuild esbuild)
file(WRITE ${doc}/copyright "${copyright}\n${node}\n\nesbuild, /usr/lib/isola/esbuild:\n\n${esbuild}")
file(REMOVE ${doc}/LICENSE ${doc}/LICENSE.node ${doc}/LICENSE.esbuild)

file(WRITE ${doc}/changelog "isola (${CPACK_PACKAGE_VERSION}) unstable; urgency=low\n\n  * Built from the sources of this version.\n\n -- ${CPACK_PACKAGE_CONTACT}  Thu, 01 Jan 1970 00:00:00 +0000\n")
file(GLOB pages ${top}/usr/share/man/*/*)
execute_process(COMMAND gzip -9n ${doc}/changelog ${pages} COMMAND_ERROR_IS_FATAL ANY)
