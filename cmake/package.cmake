# The Debian package, by CPack: `make deb`. What `make install` installs below /usr, and what a package has besides (package/debian.cmake): the
# defaults of the service, a user for it, copyright, changelog. docs/install.md says what it does to a machine.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME isola)
set(CPACK_PACKAGE_CONTACT "The Isola authors <isola@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${ISOLA_PACKAGE}/debian.cmake)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # of all programs and libraries in it
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers (>= 1.52)")
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "npm") # resolves the packages of apps
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "platform of distributed JavaScript actors")
set(CPACK_PACKAGE_DESCRIPTION "Isola runs JavaScript actors: EventEmitters that live in V8 isolates of their
own, somewhere in a cluster, and keep their state on disk. This package has the
agent that runs on each host (node-agent), started by systemd, the command line
(ctl), the pinned Node.js that both are built for, and the client library for
Node.js programs.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  "${ISOLA_PACKAGE}/postinst;${ISOLA_PACKAGE}/prerm;${ISOLA_PACKAGE}/postrm;${ISOLA_PACKAGE}/conffiles")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
