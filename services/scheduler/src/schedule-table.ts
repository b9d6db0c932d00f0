import { grown, NO_STREAM } from './stream-table.ts';

const INITIAL_CAPACITY = 1024;

/** The schedules in memory, by handle: a small number that stays while the process does. Typed arrays, as for streams. */
export class ScheduleTable {
  #capacity = INITIAL_CAPACITY;
  #used = 0;
  readonly #free: number[] = [];
  readonly #handles = new Map<number, number>();
  readonly #projects = new Map<string, number>();

  /** The database's id. */
  id = new Float64Array(INITIAL_CAPACITY);
  generation = new Float64Array(INITIAL_CAPACITY);
  /** The first bits of its uid: a database that has lost it may give its id to another. */
  uidBits = new Int32Array(INITIAL_CAPACITY);
  /** Numbers the unit of ownership it belongs to. */
  unit = new Uint32Array(INITIAL_CAPACITY);
  /** Numbers its project. */
  project = new Uint32Array(INITIAL_CAPACITY);
  /** Its first stream, or NO_STREAM. */
  firstStream = new Uint32Array(INITIAL_CAPACITY).fill(NO_STREAM);
  /** The newest span that its streams were made from. */
  lastSpan = new Uint32Array(INITIAL_CAPACITY);
  /** About how many bytes a run of it adds to a request. */
  payloadBytes = new Uint32Array(INITIAL_CAPACITY);
  /** 1: it has, or is about to get, a watermark of its own beside the frontier. */
  lagging = new Uint8Array(INITIAL_CAPACITY);

  /** How many there are. */
  get size(): number {
    return this.#handles.size;
  }

  /** All of them, in no order. */
  handles(): Iterable<number> {
    return this.#handles.values();
  }

  get projects(): number {
    return this.#projects.size;
  }

  find(id: number): number | undefined {
    return this.#handles.get(id);
  }

  add(id: number, unit: number, project: string): number {
    const handle = this.#free.pop() ?? this.#next();
    this.#handles.set(id, handle);
    this.id[handle] = id;
    this.unit[handle] = unit;
    this.project[handle] = this.projectNumber(project);
    return handle;
  }

  /** The number of a project, whether or not a schedule of it is in memory. */
  projectNumber(project: string): number {
    let number = this.#projects.get(project);
    if (number === undefined) {
      number = this.#projects.size;
      this.#projects.set(project, number);
    }
    return number;
  }

  /** Forgets a schedule without streams. Its handle is given to another one. */
  remove(handle: number): void {
    this.#handles.delete(this.id[handle]!);
    this.generation[handle] = 0;
    this.lastSpan[handle] = 0;
    this.payloadBytes[handle] = 0;
    this.#free.push(handle);
  }

  #next(): number {
    if (this.#used === this.#capacity) this.#grow();
    return this.#used++;
  }

  #grow(): void {
    this.#capacity *= 2;
    const capacity = this.#capacity;
    this.id = grown(this.id, new Float64Array(capacity));
    this.generation = grown(this.generation, new Float64Array(capacity));
    this.uidBits = grown(this.uidBits, new Int32Array(capacity));
    this.unit = grown(this.unit, new Uint32Array(capacity));
    this.project = grown(this.project, new Uint32Array(capacity));
    this.firstStream = grown(this.firstStream, new Uint32Array(capacity).fill(NO_STREAM));
    this.lastSpan = grown(this.lastSpan, new Uint32Array(capacity));
    this.payloadBytes = grown(this.payloadBytes, new Uint32Array(capacity));
    this.lagging = grown(this.lagging, new Uint8Array(capacity));
  }
}
