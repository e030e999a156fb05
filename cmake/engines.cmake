# gw_engine(LIBS ...): an engine is every .c file of its folder, and the client wrapper it links.
# Called from capture/sources/<name>/ or apply/targets/<name>/; defines gw_<side>_<name>.
function(gw_engine)
  cmake_parse_arguments(E "" "" "LIBS" ${ARGN})
  get_filename_component(name ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  file(GLOB sources CONFIGURE_DEPENDS *.c)
  add_library(gw_${GW_SIDE}_${name} STATIC ${sources})
  target_compile_options(gw_${GW_SIDE}_${name} PRIVATE ${GW_WARNINGS})
  target_link_libraries(gw_${GW_SIDE}_${name} PUBLIC gw_common ${E_LIBS})
endfunction()

# gw_registry(side header): gw_<side>s[] and gw_<side>_find() over the sub-folders that have a CMakeLists.txt.
function(gw_registry side folder header)
  set(GW_SIDE ${side})
  file(GLOB engines CONFIGURE_DEPENDS ${folder}/*/CMakeLists.txt)
  set(externs "")
  set(entries "")
  set(libs "")
  foreach(e ${engines})
    get_filename_component(dir ${e} DIRECTORY)
    get_filename_component(name ${dir} NAME)
    if(name IN_LIST GW_WITHOUT) # -DGW_WITHOUT=mysql: leave out engines whose client library is not there
      continue()
    endif()
    add_subdirectory(${dir})
    string(APPEND externs "extern const struct gw_${side}_ops gw_${side}_${name};\n")
    string(APPEND entries "    &gw_${side}_${name},\n")
    list(APPEND libs gw_${side}_${name})
  endforeach()
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/registry.c.new
"// Generated from the folders of ${folder}/.
#include \"${header}\"

#include <string.h>

${externs}
const struct gw_${side}_ops *const gw_${side}s[] = {
${entries}    NULL,
};

const struct gw_${side}_ops *
gw_${side}_find(const char *name)
{
    for (const struct gw_${side}_ops *const *e = gw_${side}s; *e; e++) {
        if (strcmp((*e)->name, name) == 0) {
            return *e;
        }
    }
    return NULL;
}
")
  configure_file(${CMAKE_CURRENT_BINARY_DIR}/registry.c.new ${CMAKE_CURRENT_BINARY_DIR}/registry.c COPYONLY)
  add_library(gw_${side}_registry STATIC ${CMAKE_CURRENT_BINARY_DIR}/registry.c)
  target_compile_options(gw_${side}_registry PRIVATE ${GW_WARNINGS})
  target_link_libraries(gw_${side}_registry PUBLIC gw_common ${libs})
endfunction()
