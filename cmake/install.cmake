# What the programs need when they run, in build/lib/isola, and the same installed: `make install`, and the Debian package.
#
#   bin/                  node-agent, ctl
#   lib/isola/            actor-host, the addon and what it loads, node (the pinned Node.js), esbuild, client (the package `isola`), templates (`ctl new`),
#                         isola.schema.json, include (Node.js' headers, for addons that ctl has npm build; not those of OpenSSL, which are 66 MB)
#   share/man/            ctl(1), node-agent(8), isola.json(5), made of what the programs say themselves
#   share/                completion of ctl's words, where bash, zsh and fish look for it
#   share/doc/isola/      documentation, examples, licences
#
# Programs find lib/isola from where they are themselves (isola_path_installed in base/path.h), so the prefix may be any, and may change. Licences:
# node's own text lists those of all it is made of.

# In build/ what is not built lies as links. The licence of esbuild (MIT) is in the npm package that names the one with the binary.
set(ISOLA_CLIENT ${CMAKE_SOURCE_DIR}/actors/lib/client)
file(MAKE_DIRECTORY ${ISOLA_FILES})
file(CREATE_LINK ${ISOLA_NODE_DIR}/bin/node ${ISOLA_FILES}/node SYMBOLIC)
file(CREATE_LINK ${ISOLA_NODE_DIR}/include ${ISOLA_FILES}/include SYMBOLIC)
file(CREATE_LINK ${ISOLA_ESBUILD} ${ISOLA_FILES}/esbuild SYMBOLIC)
file(CREATE_LINK ${ISOLA_CLIENT} ${ISOLA_FILES}/client SYMBOLIC)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/templates ${ISOLA_FILES}/templates SYMBOLIC)
file(CREATE_LINK ${CMAKE_SOURCE_DIR}/docs/isola.schema.json ${ISOLA_FILES}/isola.schema.json SYMBOLIC)
file(CREATE_LINK ../../bin/actor-host ${ISOLA_FILES}/actor-host SYMBOLIC)

install(TARGETS node-agent ctl RUNTIME DESTINATION bin)
install(TARGETS actor-host RUNTIME DESTINATION lib/isola)
install(TARGETS isola-host isola-pages LIBRARY DESTINATION lib/isola)
install(PROGRAMS ${ISOLA_NODE_DIR}/bin/node ${ISOLA_ESBUILD} DESTINATION lib/isola)
install(DIRECTORY ${ISOLA_NODE_DIR}/include DESTINATION lib/isola PATTERN openssl EXCLUDE)
install(FILES ${ISOLA_FILES}/actor-host.cjs DESTINATION lib/isola)
install(DIRECTORY ${ISOLA_FILES}/outside ${ISOLA_FILES}/service DESTINATION lib/isola)
install(DIRECTORY ${ISOLA_CLIENT} DESTINATION lib/isola PATTERN node_modules EXCLUDE)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/templates DESTINATION lib/isola PATTERN node_modules EXCLUDE)
install(FILES ${CMAKE_SOURCE_DIR}/docs/isola.schema.json DESTINATION lib/isola)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/ DESTINATION share/doc/isola)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/examples/counter DESTINATION share/doc/isola/examples PATTERN node_modules EXCLUDE)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/README.md DESTINATION share/doc/isola)
install(FILES ${ISOLA_NODE_DIR}/LICENSE DESTINATION share/doc/isola RENAME LICENSE.node)
install(FILES ${CMAKE_SOURCE_DIR}/node_modules/esbuild/LICENSE.md DESTINATION share/doc/isola RENAME LICENSE.esbuild)

# systemd's unit has the prefix in it, which is known when it is installed.
set(ISOLA_PACKAGE ${CMAKE_CURRENT_LIST_DIR}/package)
install(CODE "
  configure_file(${ISOLA_PACKAGE}/isola.service.in ${CMAKE_BINARY_DIR}/package/isola.service @ONLY)
  file(INSTALL ${CMAKE_BINARY_DIR}/package/isola.service DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")
")

# The man pages say what the programs and docs/manifest.md do: they are made of that when they are installed, and are never of another version.
install(CODE "
  execute_process(COMMAND ${ISOLA_NODE_DIR}/bin/node ${CMAKE_CURRENT_LIST_DIR}/man.mjs $<TARGET_FILE:ctl> $<TARGET_FILE:node-agent>
    ${CMAKE_SOURCE_DIR}/docs/manifest.md ${CMAKE_BINARY_DIR}/package/man COMMAND_ERROR_IS_FATAL ANY)
  file(INSTALL ${CMAKE_BINARY_DIR}/package/man DESTINATION \"\${CMAKE_INSTALL_PREFIX}/share\")
")

# So do the shells' scripts.
install(CODE "
  foreach(to bash:bash-completion/completions/ctl zsh:zsh/site-functions/_ctl fish:fish/vendor_completions.d/ctl.fish)
    string(REPLACE : \";\" to \${to})
    list(GET to 0 shell)
    list(GET to 1 path)
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/package/\${shell})
    cmake_path(GET path FILENAME name)
    cmake_path(GET path PARENT_PATH folder)
    execute_process(COMMAND $<TARGET_FILE:ctl> completion \${shell} OUTPUT_FILE ${CMAKE_BINARY_DIR}/package/\${shell}/\${name} COMMAND_ERROR_IS_FATAL ANY)
    file(INSTALL ${CMAKE_BINARY_DIR}/package/\${shell}/\${name} DESTINATION \"\${CMAKE_INSTALL_PREFIX}/share/\${folder}\")
  endforeach()
")
