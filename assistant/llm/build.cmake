# Read by llama.cpp's own project() call while pip builds llama-cpp-python (see Makefile).
# llama-cpp-python forces the `common` library on; nothing that Python loads links to it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "not used by the Python bindings" FORCE)
