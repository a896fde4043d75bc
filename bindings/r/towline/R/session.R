ssh_connect <- function(host, keyfile = NULL, passwd = ask_password, verbose = FALSE, hostkey = ask_hostkey,
                        config = NULL, options = character(), timeout = 60,
                        via = c("auto", "daemon", "direct", "installed")) {
  host <- one_text(host, "host")
  via <- match.arg(via)
  if (!is.null(keyfile))
    keyfile <- normalizePath(one_text(keyfile, "keyfile"), mustWork = TRUE)
  if (!is.null(config))
    config <- path.expand(one_text(config, "config"))
  stopifnot(is.character(passwd) || is.function(passwd) || is.null(passwd))
  verbosity <- if (is.logical(verbose)) 2L * isTRUE(verbose) else max(0L, min(4L, as.integer(verbose)))
  trouble <- new.env()
  answer <- function(q) {
    switch(q$kind,
           touch = {
             message(q$text)
             ""
           },
           hostkey = confirm(hostkey, q$text),
           secret(passwd, q$text, q$attempt))
  }
  logged <- function(line) message(line)
  pointer <- .Call(towline_connect,
                   list(host, keyfile, config, enc2utf8(options), timeout, verbosity,
                        match(via, c("auto", "daemon", "direct", "installed")) - 1L),
                   guard(answer, trouble), guard(logged, trouble))
  check(pointer, trouble)
}

# A fixed secret is tried once; a function is asked each time.
secret <- function(passwd, text, attempt) {
  said <- if (is.function(passwd)) passwd(text) else if (attempt == 1L) passwd
  if (is.character(said) && length(said) == 1 && !is.na(said)) enc2utf8(said)
}

confirm <- function(hostkey, text) {
  said <- if (is.function(hostkey)) hostkey(text) else hostkey
  if (is.character(said) && length(said) == 1) said else if (isTRUE(said)) "yes" else "no"
}

ask_password <- function(prompt) {
  own <- getOption("askpass")
  if (is.function(own))
    return(own(prompt))
  if (!interactive())
    return(NULL)
  hidden <- identical(suppressWarnings(system2("stty", "-echo", stdout = FALSE, stderr = FALSE)), 0L)
  if (hidden)
    on.exit({
      system2("stty", "echo", stdout = FALSE, stderr = FALSE)
      cat("\n")
    })
  readline(prompt)
}

ask_hostkey <- function(prompt) {
  if (!interactive())
    return(FALSE)
  readline(prompt)
}

ssh_disconnect <- function(session) {
  .Call(towline_disconnect, session)
  invisible()
}

ssh_session_info <- function(session) {
  info <- .Call(towline_info, session)
  if (is.null(info))
    return(list(user = NA_character_, host = NA_character_, identity = NA_character_, port = NA_integer_,
                connected = FALSE, sha1 = NA_character_))
  first <- c("user", "host", "identity", "port", "connected", "sha1")
  info[c(first, setdiff(names(info), first))]
}

ssh_info <- ssh_session_info

print.ssh_session <- function(x, ...) {
  info <- ssh_session_info(x)
  cat("<ssh session>\n")
  if (is.na(info$host)) {
    cat("(disconnected)\n")
  } else {
    cat(sprintf("%s@%s:%d (%s)\n", info$user, info$host, info$port,
                if (info$connected) "connected" else "disconnected"))
    cat(sprintf("server: %s\n", info$sha1))
  }
  invisible(x)
}

libtowline_version <- function() .Call(towline_version)
