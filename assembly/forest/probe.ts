// Entry of the debug build: the same interface, and switches and places for experiments that the
// release build does not have.

export * from './index';
export { TREES } from './memory-map';
export { STEPS } from './table';
export { freeze } from './trees';
