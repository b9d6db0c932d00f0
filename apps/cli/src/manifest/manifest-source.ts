import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type ParsedNode,
  parseAllDocuments,
  type YAMLError,
} from 'yaml';
import { CliError, ExitCode } from '../exit-code.ts';

/** A part of a manifest, and the document it belongs to. */
export interface ManifestNode {
  readonly node: Node;
  readonly document: Document.Parsed;
}

/** A YAML file (or standard input) that knows where in it everything stands. */
export class ManifestSource {
  /** How the file is called in messages. */
  readonly name: string;
  readonly #lines = new LineCounter();
  readonly #documents: readonly Document.Parsed[];

  /** @throws CliError with the first place that is not YAML. */
  constructor(name: string, text: string) {
    this.name = name;
    const documents = parseAllDocuments(text, { lineCounter: this.#lines, prettyErrors: false });
    this.#documents = 'empty' in documents ? [] : documents;
    for (const document of this.#documents) {
      const [problem] = [...document.errors, ...document.warnings];
      if (problem !== undefined) throw this.#syntaxError(problem);
    }
  }

  /** Every entry: a document that is a list counts as its items; empty documents are left out. */
  entries(): ManifestNode[] {
    return this.#documents.flatMap((document) => {
      const { contents } = document;
      if (contents === null || (isScalar(contents) && contents.value === null)) return [];
      if (!isSeq(contents)) return [{ node: contents, document }];
      return contents.items.map((item) => ({ node: this.#itemOf(item, contents), document }));
    });
  }

  /** `schedules.yaml:12:3`. */
  place({ node }: Pick<ManifestNode, 'node'>): string {
    const { line, col } = this.#lines.linePos(node.range?.[0] ?? 0);
    return `${this.name}:${line}:${col}`;
  }

  /** An error at the node: what is wrong there, and below it what would be right. */
  error(at: Pick<ManifestNode, 'node'>, problem: string, ...advice: readonly string[]): CliError {
    return new CliError(ExitCode.usage, `${this.place(at)}: ${problem}`, advice);
  }

  /** The node itself, or what its alias (`*name`) stands for. */
  resolve({ node, document }: ManifestNode): Node {
    if (!isAlias(node)) return node;
    const target = (node as Alias).resolve(document);
    if (target === undefined)
      throw this.error({ node }, `there is no anchor &${(node as Alias).source} before this`);
    return target;
  }

  /** The pairs of a mapping. @throws CliError when it is none; `what` says what it should be. */
  pairs(at: ManifestNode, what: string): { key: string; keyNode: Node; value: ManifestNode }[] {
    const map = this.resolve(at);
    if (!isMap(map)) throw this.error(at, `${what} must be a mapping`);
    return map.items.map((pair) => {
      const keyNode = pair.key as ParsedNode;
      if (!isScalar(keyNode) || typeof keyNode.value !== 'string') {
        throw this.error({ node: keyNode }, `the keys of ${what} must be words`);
      }
      const value = (pair.value ?? keyNode) as ParsedNode;
      return { key: keyNode.value, keyNode, value: { node: value, document: at.document } };
    });
  }

  /** The plain value of a scalar: text, number, boolean or null; undefined when the node is no scalar. */
  scalar(at: ManifestNode): string | number | boolean | null | undefined {
    const node = this.resolve(at);
    if (!isScalar(node)) return undefined;
    const { value } = node;
    return typeof value === 'string' ||
      typeof value === 'number' ||
      typeof value === 'boolean' ||
      value === null
      ? value
      : undefined;
  }

  /** The items of a list. @throws CliError when it is none. */
  items(at: ManifestNode, what: string): ManifestNode[] {
    const list = this.resolve(at);
    if (!isSeq(list)) throw this.error(at, `${what} must be a list`);
    return list.items.map((item) => ({ node: item as ParsedNode, document: at.document }));
  }

  /** The node as a plain JavaScript value, aliases resolved. */
  plain(at: ManifestNode): unknown {
    return at.node.toJS(at.document, { maxAliasCount: 100 });
  }

  #itemOf(item: unknown, list: Node): Node {
    return item === null || item === undefined ? list : (item as ParsedNode);
  }

  #syntaxError(error: YAMLError): CliError {
    const { line, col } = this.#lines.linePos(error.pos[0]);
    const advice = /alias/i.test(error.message)
      ? ['A value that begins with * must stand in quotes, as in cron: "*/5 * * * *".']
      : [];
    return new CliError(ExitCode.usage, `${this.name}:${line}:${col}: ${error.message}`, advice);
  }
}
