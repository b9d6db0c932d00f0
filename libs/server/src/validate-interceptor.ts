import { create, type DescMessage, type DescMethod, type MessageShape } from '@bufbuild/protobuf';
import { pathToString } from '@bufbuild/protobuf/reflect';
import { createValidator, type Validator, type Violation } from '@bufbuild/protovalidate';
import { type FieldViolation, invalidArgument } from '@carillon/core/domain-error.ts';
import type { Interceptor } from '@connectrpc/connect';

/** Enforces the rules that stand in the protos, on every request message. */
export class RequestValidator {
  readonly #validator: Validator = createValidator();

  /**
   * Compiles the rules of a request type, so that a faulty rule stops the start and not a call.
   *
   * @throws {Error} the compilation error.
   */
  prepare(schema: DescMessage): void {
    const { kind, error } = this.#validator.validate(schema, create(schema));
    if (kind === 'error') throw new Error(`rules of ${schema.typeName} are not usable`, { cause: error });
  }

  /**
   * Returns when the message keeps its rules.
   *
   * @throws {DomainError} INVALID_ARGUMENT with every violation.
   */
  check<D extends DescMessage>(schema: D, message: MessageShape<D>): void {
    const result = this.#validator.validate(schema, message);
    if (result.kind === 'valid') return;
    if (result.kind === 'error') throw result.error;
    throw invalidArgument(...withoutEchoes(result.violations).map(toFieldViolation));
  }
}

/**
 * Checks unary requests and each message of a request stream before a handler sees them, except those of `selfChecked`
 * methods, whose handlers check them.
 */
export function validateInterceptor(
  validator: RequestValidator,
  selfChecked: readonly DescMethod[] = [],
): Interceptor {
  return (next) => (request) => {
    if (selfChecked.includes(request.method)) return next(request);
    if (!request.stream) {
      validator.check(request.method.input, request.message);
      return next(request);
    }
    return next({ ...request, message: checked(request.message) });

    async function* checked<T extends MessageShape<DescMessage>>(
      messages: AsyncIterable<T>,
    ): AsyncGenerator<T> {
      for await (const message of messages) {
        validator.check(request.method.input, message);
        yield message;
      }
    }
  };
}

function toFieldViolation(violation: Violation): FieldViolation {
  return {
    field: pathToString(violation.field),
    description: descriptionOf(violation),
    reason: violation.ruleId,
  };
}

/** A text that is missing breaks the rule of its form as well, which helps nobody. */
function withoutEchoes(violations: readonly Violation[]): readonly Violation[] {
  const missing = new Set(violations.filter(isMissing).map(({ field }) => pathToString(field)));
  return violations.filter(
    (violation) => isMissing(violation) || !missing.has(pathToString(violation.field)),
  );
}

function isMissing({ message, ruleId }: Violation): boolean {
  return ruleId === 'string.min_len' && message.endsWith('at least 1 characters');
}

/** The rule's own message; that of a text which is missing counts "1 characters". */
function descriptionOf(violation: Violation): string {
  return isMissing(violation) ? 'must not be empty' : violation.message;
}
