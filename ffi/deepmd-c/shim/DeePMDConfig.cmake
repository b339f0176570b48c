# find_package(DeePMD): the target DeePMD::deepmd_cc (deepmd/DeepPot.h over libdeepmd_c.so) and DeePMD::deepmd_c (the library alone).
get_filename_component(_weir_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET DeePMD::deepmd_c)
  add_library(DeePMD::deepmd_c SHARED IMPORTED)
  set_target_properties(DeePMD::deepmd_c PROPERTIES
    IMPORTED_LOCATION "${_weir_prefix}/lib/libdeepmd_c.so"
    IMPORTED_SONAME "libdeepmd_c.so"
    INTERFACE_INCLUDE_DIRECTORIES "${_weir_prefix}/include")
endif()
if(NOT TARGET DeePMD::deepmd_cc)
  add_library(DeePMD::deepmd_cc INTERFACE IMPORTED)
  set_target_properties(DeePMD::deepmd_cc PROPERTIES
    INTERFACE_LINK_LIBRARIES DeePMD::deepmd_c
    INTERFACE_COMPILE_FEATURES cxx_std_11)
endif()
unset(_weir_prefix)
