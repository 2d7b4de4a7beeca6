# Installs the runtime into a fresh folder, builds a C program against it with find_package(quench), and runs that; then the same by hand,
# with a C compiler and one archive. Variables: BUILD, SOURCE, WORK, C_COMPILER, C_FLAGS, GENERATOR, LIBDIR.
function(must)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
endfunction()

file(REMOVE_RECURSE ${WORK})
must(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix --component runtime)
must(${CMAKE_COMMAND} -S ${SOURCE}/consumer -B ${WORK}/build -G ${GENERATOR} -DCMAKE_PREFIX_PATH=${WORK}/prefix
  -DCMAKE_C_COMPILER=${C_COMPILER} -DCMAKE_C_FLAGS=${C_FLAGS})
must(${CMAKE_COMMAND} --build ${WORK}/build)
must(${WORK}/build/consumer)
separate_arguments(flags UNIX_COMMAND "${C_FLAGS}")
must(${C_COMPILER} ${flags} ${SOURCE}/consumer/consumer.c -I${WORK}/prefix/include -L${WORK}/prefix/${LIBDIR} -lquench_runtime -lpthread
  -lm -o ${WORK}/by_hand)
must(${WORK}/by_hand)
