import { isNameSegment, type Parent } from '@carillon/core/resource-name.ts';
import { usageError } from './exit-code.ts';

/** What names are taken from. */
export type Collection = 'schedules' | 'runs';

/** `projects/{project}/domains/{domain}`; `-` stands for all. */
export function parentName({ project, domain }: Parent): string {
  return `projects/${project}/domains/${domain}`;
}

/**
 * The resource name for what a person wrote: the name itself, `project/domain/name`, or `name` below the default parent.
 * Undefined when it is none of these.
 */
export function resourceName(text: string, collection: Collection, parent: Parent): string | undefined {
  const parts = text.split('/');
  const [project, domain, id] =
    parts.length === 1
      ? [parent.project, parent.domain, parts[0]]
      : parts.length === 3
        ? parts
        : parts.length === 6 && parts[0] === 'projects' && parts[2] === 'domains' && parts[4] === collection
          ? [parts[1], parts[3], parts[5]]
          : [];
  if (project === undefined || domain === undefined || id === undefined) return undefined;
  if (![project, domain, id].every(isNameSegment)) return undefined;
  return `${parentName({ project, domain })}/${collection}/${id}`;
}

/** As {@link resourceName}. @throws CliError when the text is no name. */
export function requireName(text: string, collection: Collection, parent: Parent): string {
  const name = resourceName(text, collection, parent);
  if (name !== undefined) return name;
  const noun = collection.slice(0, -1);
  throw usageError(
    `"${text}" is not the name of a ${noun}`,
    `Give NAME, PROJECT/DOMAIN/NAME or projects/PROJECT/domains/DOMAIN/${collection}/NAME;`,
    'each segment begins with a-z, holds a-z, 0-9 and -, and has at most 63 characters.',
  );
}

/** `project/domain/name` for a resource name; anything else as it is. */
export function shortName(name: string): string {
  const parts = name.split('/');
  return parts.length === 6 ? `${parts[1]}/${parts[3]}/${parts[5]}` : name;
}

/** The last segment of a resource name. */
export function lastSegment(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}
