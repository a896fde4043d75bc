scp_upload <- function(session, files, to = ".", verbose = TRUE) {
  copy(session, TRUE, path.expand(texts(files)), one_text(to, "to"), verbose)
  invisible(to)
}

scp_download <- function(session, files, to = ".", verbose = TRUE) {
  copy(session, FALSE, texts(files), path.expand(one_text(to, "to")), verbose)
  invisible()
}

texts <- function(files) {
  if (!is.character(files) || !length(files) || anyNA(files) || !all(nzchar(files)))
    stop("files must be one or more paths", call. = FALSE)
  enc2utf8(files)
}

copy <- function(session, upload, files, to, verbose) {
  trouble <- new.env()
  trouble$files <- character()
  shown <- FALSE
  show <- function(p) {
    shown <<- TRUE
    if (interactive())
      cat(sprintf("\r%3.0f%% %s\033[K", if (p$total > 0) 100 * p$done / p$total else 100, basename(p$path)))
    TRUE
  }
  problem <- function(x) trouble$files <- c(trouble$files, problem_text(x))
  value <- .Call(towline_copy, session, upload, files, to, if (isTRUE(verbose)) guard(show, trouble, FALSE),
                 guard(problem, trouble))
  if (shown && interactive())
    cat("\n")
  for (p in trouble$files)
    warning(p, call. = FALSE, immediate. = TRUE)
  check(value, trouble)
}

problem_text <- function(x) sprintf("%s: %s", x[1], x[2])
