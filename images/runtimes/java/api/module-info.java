/** What a function may name, as AWS has it, and what waits for the function. Nothing else of the runtime is seen by a function. */
module torpor.runtime {
  exports com.amazonaws.services.lambda.runtime;
  exports com.amazonaws.services.lambda.runtime.logging;
  exports org.crac;
}
