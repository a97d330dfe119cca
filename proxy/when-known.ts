/**
 * Goes on with a value at once where it is there, and later where it is not: what is known of most requests costs no turn of the
 * queue of promises.
 */
export const whenKnown = <Value, Next>(
  value: Value | Promise<Value>,
  next: (value: Value) => Next | Promise<Next>,
): Next | Promise<Next> => (value instanceof Promise ? value.then(next) : next(value))
