/** The witness, to run in a guest. */
import { createWitness } from "./witness.ts"

createWitness().server.listen(8080, "127.0.0.1")
