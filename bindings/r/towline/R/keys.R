ssh_home <- function(file = NULL) {
  folder <- file.path(normalizePath("~"), ".ssh")
  if (length(file)) file.path(folder, file) else folder
}

ssh_keygen <- function(file = ssh_home("id_rsa"), type = NULL, comment = NULL, passphrase = NULL) {
  file <- path.expand(one_text(file, "file"))
  if (is.null(type))
    type <- if (grepl("rsa", basename(file))) "rsa" else if (grepl("ecdsa", basename(file))) "ecdsa" else "ed25519"
  check(.Call(towline_key_new, file, type, comment, passphrase))
  key_pair(file)
}

ssh_key_info <- function(host = NULL, auto_keygen = NA) {
  found <- Filter(file.exists, key_files(host))
  if (length(found))
    return(key_pair(found[1]))
  if (is.na(auto_keygen))
    auto_keygen <- interactive() && identical(tolower(readline("No ssh key found. Make one? (yes/no) ")), "yes")
  if (!isTRUE(auto_keygen))
    stop("no ssh key was found; make one with ssh_keygen()", call. = FALSE)
  ssh_keygen(ssh_home("id_ed25519"))
}

ssh_key_list <- function(folder = NULL) {
  if (!is.null(folder))
    folder <- path.expand(one_text(folder, "folder"))
  as.data.frame(check(.Call(towline_keys, folder)), stringsAsFactors = FALSE)
}

ssh_agent_add <- function(file = NULL, passwd = ask_password) {
  files <- if (is.null(file)) Filter(file.exists, ssh_home(default_keys)) else path.expand(file)
  for (f in files) {
    trouble <- new.env()
    check(.Call(towline_key_add, f, guard(function(text) secret(passwd, text, 1L), trouble)), trouble)
  }
  invisible(length(files) > 0)
}

ssh_key_copy <- function(session, file = ssh_key_info()$key) {
  invisible(check(.Call(towline_key_copy, session, path.expand(one_text(file, "file")))))
}

default_keys <- c("id_ed25519", "id_ecdsa", "id_rsa", "id_dsa")

# In the order in which ssh tries them.
key_files <- function(host) {
  if (is.null(host))
    return(ssh_home(default_keys))
  said <- suppressWarnings(system2("ssh", c("-G", "--", shQuote(one_text(host, "host"))), stdout = TRUE, stderr = FALSE))
  files <- sub("^identityfile ", "", grep("^identityfile ", said, value = TRUE))
  path.expand(files)
}

key_pair <- function(file) {
  public <- paste0(file, ".pub")
  list(key = file, pubkey = if (file.exists(public)) readLines(public, n = 1L, warn = FALSE) else NA_character_)
}
