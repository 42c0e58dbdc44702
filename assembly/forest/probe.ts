// Entry of the debug build: the same interface, and switches for experiments that the release build
// does not have.

export * from './index';
export { freeze } from './trees';
