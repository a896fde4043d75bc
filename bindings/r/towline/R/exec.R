ssh_exec_wait <- function(session, command = "whoami", std_out = stdout(), std_err = stderr(), std_in = NULL,
                          timeout = 0) {
  trouble <- new.env()
  out <- sink_of(std_out, "std_out")
  on.exit(out$close())
  err <- sink_of(std_err, "std_err")
  on.exit(err$close(), add = TRUE)
  how <- run(session, command, out$take, err$take, std_in, timeout, trouble)
  if (how[2] == 0L) how[1] else structure(-1L, signal = how[2])
}

ssh_exec_internal <- function(session, command = "whoami", error = TRUE, std_in = NULL, timeout = 0) {
  stopifnot(is.logical(error), length(error) == 1)
  trouble <- new.env()
  out <- collector()
  err <- collector()
  how <- run(session, command, out$take, err$take, std_in, timeout, trouble)
  value <- list(status = if (how[2] == 0L) how[1] else structure(-1L, signal = how[2]), stdout = out$value(),
                stderr = err$value())
  if (error && any(how != 0L)) {
    ended <- if (how[2]) sprintf("was ended by signal %d", how[2]) else sprintf("failed with status %d", how[1])
    fail(sprintf("Executing '%s' %s", paste(command, collapse = "; "), ended), if (how[2]) "signaled" else "status",
         if (how[2]) -91L else -90L, output = value)
  }
  value
}

run <- function(session, command, out, err, input, timeout, trouble) {
  if (!is.character(command) || !length(command) || anyNA(command))
    stop("command must be one or more command lines", call. = FALSE)
  if (is.character(input))
    input <- charToRaw(paste0(paste(enc2utf8(input), collapse = "\n"), "\n"))
  stopifnot(is.null(input) || is.raw(input))
  take <- function(f) {
    if (is.null(f))
      return(NULL)
    guard(function(x) {
      f(x)
      TRUE
    }, trouble, FALSE)
  }
  check(.Call(towline_exec, session, enc2utf8(command), take(out), take(err), input, timeout), trouble)
}

# What std_out and std_err may be: a connection, a file name, TRUE or "" (the console), a function of one raw vector,
# NULL or FALSE (dropped).
sink_of <- function(x, what) {
  none <- function() invisible()
  if (is.null(x) || identical(x, FALSE))
    return(list(take = NULL, close = none))
  if (is.function(x)) {
    if (length(formals(args(x))) < 1)
      stop(sprintf("the function %s needs an argument for the bytes", what), call. = FALSE)
    return(list(take = x, close = none))
  }
  if (isTRUE(x) || identical(x, ""))
    x <- if (what == "std_out") stdout() else stderr()
  if (is.character(x)) {
    con <- file(one_text(x, what), open = "wb")
    return(list(take = function(b) writeBin(b, con), close = function() close(con)))
  }
  if (!inherits(x, "connection"))
    stop(sprintf("%s must be a connection, a file name, a function, TRUE, FALSE or NULL", what), call. = FALSE)
  to_connection(x)
}

to_connection <- function(con) {
  opened <- !isOpen(con)
  if (opened)
    open(con, "wb")
  finish <- if (opened) function() close(con) else function() invisible()
  if (inherits(con, "terminal") || summary(con)$text == "text") {
    rest <- raw()
    show <- function(b) cat(rawToChar(b[b != 0]), file = con)
    take <- function(b) {
      b <- c(rest, b)
      n <- whole_characters(b)
      rest <<- b[seq_len(length(b) - n) + n]
      show(b[seq_len(n)])
      utils_flush(con)
    }
    return(list(take = take, close = function() {
      if (length(rest))
        show(rest)
      finish()
    }))
  }
  list(take = function(b) writeBin(b, con), close = finish)
}

utils_flush <- function(con) if (inherits(con, "terminal")) flush(con)

# How many bytes at the front end with a whole character of UTF-8: pieces may be cut anywhere.
whole_characters <- function(b) {
  n <- length(b)
  for (back in seq_len(min(3L, n))) {
    v <- as.integer(b[n - back + 1L])
    if (v < 0x80L)
      return(n)
    if (v >= 0xC0L) {
      want <- if (v >= 0xF0L) 4L else if (v >= 0xE0L) 3L else 2L
      return(if (back < want) n - back else n)
    }
  }
  n
}

collector <- function() {
  parts <- list()
  list(take = function(b) parts[[length(parts) + 1L]] <<- b, value = function() {
    if (length(parts)) do.call(c, parts) else raw()
  })
}
