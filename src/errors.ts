/** What an error says beside its message; all are plain text for people. */
export interface ErrorDetails {
  /** What the reader can do about it, as an instruction. */
  fix?: string;
  /** Where it happened: a file, a tensor, an operator, a command-line option. */
  where?: string;
  /** The error underneath, if one was caught. */
  cause?: unknown;
}

/**
 * The one error class of Sinter. `code` is stable and in SCREAMING_SNAKE_CASE (`FILE_NOT_FOUND`,
 * `SIZE_MISMATCH`), so that a program can branch on it; `message` says what was expected and what was found.
 */
export class SinterError extends Error {
  readonly code: string;
  readonly fix: string | undefined;
  readonly where: string | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "SinterError";
    this.code = code;
    this.fix = details.fix;
    this.where = details.where;
  }
}
