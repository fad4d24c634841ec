# SIM_SOURCES: the simulated world and the nodes in it, less what asserts with Criterion; for tests, swarm, benchmarks and fuzzers.
file(GLOB SIM_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/world/*.c ${CMAKE_CURRENT_LIST_DIR}/mesh/*.c)
list(FILTER SIM_SOURCES EXCLUDE REGEX "/(redex_logger|redex_copier|crash_logger|crash_points|log_files)\\.c$")
