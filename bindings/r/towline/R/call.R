# What every call into the library shares.

# Raises what a call said; returns its value.
check <- function(value, trouble = NULL) {
  force(value)
  if (!is.null(trouble) && !is.null(trouble$condition)) {
    if (inherits(trouble$condition, "interrupt"))
      .Call(towline_interrupt)
    stop(trouble$condition)
  }
  if (!inherits(value, "towline_failure"))
    return(value)
  if (isTRUE(value$interrupted))
    .Call(towline_interrupt)
  fail(value$message, value$name, value$number, value$todo)
}

# An error with the fields of docs/errors.md.
fail <- function(message, name = "", number = 0L, todo = "", ...) {
  text <- if (nzchar(todo)) paste0(message, "\n", todo) else message
  kinds <- c(if (nzchar(name)) paste0("towline_", name), "towline_error", "error", "condition")
  stop(structure(class = kinds, list(message = text, call = NULL, name = name, number = number, todo = todo, ...)))
}

# A function of the user that may fail or be interrupted while the library waits for it: what it raises is kept in
# `trouble` and ends the call.
guard <- function(f, trouble, otherwise = NULL) {
  force(f)
  force(otherwise)
  keep <- function(e) {
    trouble$condition <- e
    otherwise
  }
  function(x) tryCatch(f(x), error = keep, interrupt = keep)
}

one_text <- function(x, what) {
  if (!is.character(x) || length(x) != 1 || is.na(x) || !nzchar(x))
    stop(sprintf("%s must be one text", what), call. = FALSE)
  enc2utf8(x)
}
