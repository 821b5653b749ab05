/** The fields of the form, from the JSON Schema of a TrainJob and from the limits that apply to the one who asks: pure. */
import { TranslationBundle } from '@jupyterlab/translation';

import { ILimits, IMe, IProfile } from '../api/types';

/** As much of JSON Schema as the server's has. */
export interface ISchema {
  type?: string;
  description?: string;
  minimum?: number;
  maximum?: number;
  $ref?: string;
  anyOf?: ISchema[];
  allOf?: ISchema[];
  properties?: Record<string, ISchema>;
  $defs?: Record<string, ISchema>;
}

export interface IField {
  /** The path as the server names it in errors: `spec.resources.cpu`. */
  path: string;
  name: string;
  kind: 'text' | 'number' | 'switch';
  help: string;
  minimum?: number;
  maximum?: number;
}

/** What is behind a reference or behind "this or null". */
export function resolve(schema: ISchema, root: ISchema): ISchema {
  if (schema.$ref) {
    return { ...resolve(root.$defs?.[schema.$ref.split('/').pop() ?? ''] ?? {}, root), ...rest(schema) };
  }
  const real = [...(schema.anyOf ?? []), ...(schema.allOf ?? [])].find(one => one.type !== 'null');
  return real ? { ...resolve(real, root), ...rest(schema) } : schema;
}

function rest({ description }: ISchema): ISchema {
  return description ? { description } : {};
}

/** The simple fields of the object at a path, in the schema's order. */
export function fieldsAt(root: ISchema, path: string): IField[] {
  let at = root;
  for (const part of path.split('.')) {
    at = resolve(at.properties?.[part] ?? {}, root);
  }
  return Object.entries(at.properties ?? {}).flatMap(([name, schema]) => {
    const found = resolve(schema, root);
    const kinds: Record<string, IField['kind']> = {
      string: 'text',
      integer: 'number',
      number: 'number',
      boolean: 'switch'
    };
    const kind = kinds[found.type ?? ''] ?? (isQuantity(schema) ? 'text' : undefined);
    return kind
      ? [
          {
            path: `${path}.${name}`,
            name,
            kind,
            help: found.description ?? '',
            minimum: found.minimum,
            maximum: found.maximum
          }
        ]
      : [];
  });
}

/** What a field of the spec is called for people; one that a newer server has is called by its own name. */
export function fieldWords(name: string, trans: TranslationBundle): string {
  const words: Record<string, string> = {
    cpu: trans.__('CPUs'),
    memory: trans.__('Memory'),
    gpu: trans.__('GPUs'),
    shm: trans.__('Shared memory'),
    disk: trans.__('Disk'),
    processes: trans.__('Processes'),
    openFiles: trans.__('Open files'),
    fileSize: trans.__('Largest file'),
    log: trans.__('Log'),
    priority: trans.__('Priority'),
    seed: trans.__('Seed'),
    notify: trans.__('Tell me when it ends')
  };
  return words[name] ?? name;
}

/** A quantity may be told as a number or as text. */
function isQuantity(schema: ISchema): boolean {
  return !!schema.anyOf?.some(one => one.type === 'string');
}

/** The limits that apply to one person in a queue with a profile, in words, for one resource. */
export function limitWords(
  name: string,
  profile: IProfile | undefined,
  me: IMe | null,
  queue: string,
  trans: TranslationBundle
): string {
  const words: string[] = [];
  const standard = profile?.spec.defaults?.[name];
  if (standard !== undefined && standard !== null) {
    words.push(trans.__('left empty: %1', String(standard)));
  }
  const most = profile?.spec.maximum?.[name];
  if (most !== undefined && most !== null) {
    words.push(trans.__('at most %1', String(most)));
  }
  const limits = me?.limits.queues.find(one => one.queue === queue)?.perUser;
  const use = me?.use.find(one => one.queue === queue);
  const limit = limits?.[name as keyof ILimits];
  if (limit !== undefined && limit !== null && use) {
    const used = String(use[name as 'cpu' | 'memory' | 'gpu'] ?? 0);
    words.push(trans.__('yours in this queue: %1 of %2 in use', used, String(limit)));
  }
  return words.join(' · ');
}
