/**
 * The most bytes of specs on a page: a page of large inputs is shorter than was asked for, so that an answer stays below what
 * servers send and clients take. As JSON it may be several times as many.
 */
export const MAX_PAGE_BYTES = 4 * 1024 * 1024;
