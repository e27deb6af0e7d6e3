/** The canonical path with query of a request target. */
export declare function canonical(target: string): string;
/** The names under which a URL may be known: as it is, and without a publisher's constant first path component. */
export declare function targets(url: string): string[];
