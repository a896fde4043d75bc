# What needs no host. The examples of the manual against a real server: tests/bindings/test_r.py of the project.
library(towline)

failed <- function(expr) tryCatch({
  expr
  NULL
}, error = function(e) e)

stopifnot(grepl("^[0-9]+\\.[0-9]+", libtowline_version()))
stopifnot(identical(basename(ssh_home("id_rsa")), "id_rsa"))
stopifnot(grepl("no ssh session", conditionMessage(failed(ssh_disconnect(1)))))
stopifnot(grepl("no ssh session", conditionMessage(failed(ssh_exec_wait(NULL, "true")))))
stopifnot(grepl("host must be one text", conditionMessage(failed(ssh_connect(character())))))
stopifnot(!is.null(failed(ssh_connect("localhost", keyfile = "/no/such/key"))))

# pieces of output may be cut inside a character
whole <- towline:::whole_characters
b <- charToRaw(enc2utf8("a\u00e4\u20ac"))
stopifnot(whole(b) == length(b), whole(b[1:2]) == 1, whole(b[1:5]) == 3, whole(b[1:4]) == 3, whole(raw()) == 0)
