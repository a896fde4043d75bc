ssh_tunnel <- function(session, port = 5555, target = "rainmaker.wunderground.com:23", once = TRUE) {
  target <- one_text(target, "target")
  if (!startsWith(target, "/") && !grepl(":[0-9]+$", target))
    stop(sprintf("target '%s' needs a port: host:port", target), call. = FALSE)
  trouble <- new.env()
  listening <- function(n) message(sprintf("Tunnel to %s on port %d; interrupt to end it", target, n))
  check(.Call(towline_tunnel, session, as.character(port), target, once, guard(listening, trouble)), trouble)
  invisible()
}
