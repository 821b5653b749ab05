/** Holds `types.ts` against the server's own document: what is read here is there, and is of that type. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import ts from 'typescript';
import { describe, expect, it } from 'vitest';

import { reasonWords } from '../card/words';
import { trans } from '../testing';

interface ISchema {
  $ref?: string;
  anyOf?: ISchema[];
  oneOf?: ISchema[];
  type?: string;
  const?: string;
  enum?: string[];
  items?: ISchema;
  properties?: Record<string, ISchema>;
  required?: string[];
  additionalProperties?: ISchema | boolean;
}

const { load } = createRequire(import.meta.url)('js-yaml') as { load(text: string): unknown };
const document = load(readFileSync('../jupyter_trainjob/api/openapi.yaml', 'utf8')) as {
  components: { schemas: Record<string, ISchema> };
};
const { schemas } = document.components;

/** What comes from the server, and where the document tells of it; what is below these is found from them. */
const ROOTS: Record<string, ISchema> = {
  ITrainJob: schemas.TrainJob,
  IQueue: schemas.Queue,
  IProfile: schemas.Profile,
  IKernel: schemas.KernelList.properties!.kernels.items!,
  IMe: schemas.Me,
  IFieldProblem: schemas.FieldError,
  IInspection: schemas.Inspection,
  IDraft: schemas.TrainJob,
  ISeries: schemas.MetricSeries,
  ILogHits: schemas.LogHits,
  IMade: schemas.Made,
  IPage: schemas.TrainJobList,
  IOutputs: schemas.OutputList,
  IFeedMessage: schemas.Changes
};
/** Made here, of more than one answer. */
const OURS = ['IJobRef', 'ILogChunk'];

const source = ts.createSourceFile('types.ts', readFileSync('src/api/types.ts', 'utf8'), ts.ScriptTarget.Latest, true);
const declared = new Map<string, ts.InterfaceDeclaration | ts.TypeAliasDeclaration>();
source.forEachChild(node => {
  if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) {
    declared.set(node.name.text, node);
  }
});

/** Without references and without null: what of it there may be. */
function parts(schema: ISchema): ISchema[] {
  if (schema.$ref) {
    return parts(schemas[schema.$ref.split('/').pop()!]);
  }
  const several = schema.anyOf ?? schema.oneOf;
  return several ? several.flatMap(parts) : schema.type === 'null' ? [] : [schema];
}

const seen = new Set<string>();

/** What in a type is not as the document has it. */
function wrong(type: ts.TypeNode, schema: ISchema, where: string): string[] {
  const told = parts(schema);
  const is = (...types: string[]) =>
    told.some(part => !part.type || types.includes(part.type)) ? [] : [`${where} is ${JSON.stringify(told)}`];
  if (ts.isParenthesizedTypeNode(type)) {
    return wrong(type.type, schema, where);
  }
  if (ts.isArrayTypeNode(type)) {
    const items = told.flatMap(part => part.items ?? []);
    return items.length ? wrong(type.elementType, { anyOf: items }, `${where}[]`) : [`${where} is no list`];
  }
  if (ts.isTupleTypeNode(type)) {
    return is('array');
  }
  if (ts.isIntersectionTypeNode(type)) {
    return type.types.flatMap(one => wrong(one, schema, where));
  }
  if (ts.isUnionTypeNode(type)) {
    const rest = type.types.filter(
      one => !(ts.isLiteralTypeNode(one) && one.literal.kind === ts.SyntaxKind.NullKeyword)
    );
    const words = rest.filter(one => ts.isLiteralTypeNode(one)).map(one => one.getText().slice(1, -1));
    if (!words.length) {
      return rest.flatMap(one => wrong(one, schema, where));
    }
    const enumerated = [...new Set(told.flatMap(part => part.enum ?? []))];
    return String([...words].sort()) === String(enumerated.sort())
      ? []
      : [`${where} is one of ${enumerated.join(', ')}`];
  }
  if (ts.isLiteralTypeNode(type)) {
    const word = type.getText().slice(1, -1);
    return told.some(part => part.const === word) ? [] : [`${where} is never ${word}`];
  }
  if (ts.isTypeLiteralNode(type)) {
    return members(type.members, told, where);
  }
  if (ts.isTypeReferenceNode(type)) {
    const name = type.typeName.getText();
    if (name === 'Record') {
      const values = told.map(part => part.additionalProperties).filter(part => typeof part === 'object');
      return values.length ? wrong(type.typeArguments![1], { anyOf: values }, `${where}{}`) : is('object');
    }
    return declared.has(name) ? named(name, schema, where) : [];
  }
  switch (type.kind) {
    case ts.SyntaxKind.StringKeyword:
      return is('string');
    case ts.SyntaxKind.NumberKeyword:
      return is('number', 'integer');
    case ts.SyntaxKind.BooleanKeyword:
      return is('boolean');
    case ts.SyntaxKind.ObjectKeyword:
      return is('object');
    default:
      return [];
  }
}

function named(name: string, schema: ISchema, where: string): string[] {
  seen.add(name);
  const found = declared.get(name)!;
  return ts.isInterfaceDeclaration(found)
    ? members(found.members, parts(schema), where)
    : wrong(found.type, schema, where);
}

function members(list: ts.NodeArray<ts.TypeElement>, told: ISchema[], where: string): string[] {
  return list.filter(ts.isPropertySignature).flatMap(member => {
    const name = member.name.getText();
    const there = told.flatMap(part => part.properties?.[name] ?? []);
    return there.length
      ? wrong(member.type!, { anyOf: there }, `${where}.${name}`)
      : [`${where}.${name} is not in openapi.yaml`];
  });
}

describe('the types of what the server sends', () => {
  it.each(Object.entries(ROOTS))('%s is as openapi.yaml has it', (name, schema) => {
    expect(named(name, schema, name)).toEqual([]);
  });

  it('are all looked at', () => {
    Object.entries(ROOTS).forEach(([name, schema]) => named(name, schema, name));
    expect([...declared.keys()].filter(name => !seen.has(name) && !OURS.includes(name))).toEqual([]);
  });

  it('would be found wrong', () => {
    const [member] = (declared.get('IQueueUse') as ts.InterfaceDeclaration).members;
    const type = (member as ts.PropertySignature).type!;
    expect(wrong(type, { type: 'string' }, 'x')).toEqual(['x is [{"type":"string"}]']);
    expect(named('IQueueUse', schemas.Usage, 'x')).toContain('x.runningJobs is not in openapi.yaml');
    expect(named('Phase', schemas.Reason, 'x')).toHaveLength(1);
  });

  it('every reason has words', () => {
    const reasons = schemas.Reason.enum!;
    expect(reasons.length).toBeGreaterThan(20);
    expect(reasons.filter(reason => reasonWords(reason, trans) === reason)).toEqual([]);
  });
});
