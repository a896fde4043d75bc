/* What runs inside of a kernel for the Variables pane and the data viewer: a comm target `towline` that answers questions. It leaves
 * no name in the user's workspace, changes nothing, and bounds every answer: ROWS × COLUMNS cells of CELL characters, NAMES variables.
 *
 *   list {}                              -> [{name, type, value, more, table}]
 *   children {path}                      -> the same, of a value: `path` is a name, then numbers of children
 *   open {path}                          -> {table, rows, columns: [{name, type}]}
 *   rows {table, from, to, first, last, sort} -> {labels, cells}; sort: {column, down} or null
 *   close {table}                        -> {} */

export const BOUNDS = { NAMES: 500, CHILDREN: 300, VALUE: 200, ROWS: 500, COLUMNS: 200, CELL: 200, TABLES: 16 } as const

const PYTHON = String.raw`
def _install(ip):
    import json, reprlib, types
    NAMES, CHILDREN, VALUE, ROWS, COLUMNS, CELL, TABLES = @BOUNDS@
    short = reprlib.Repr()
    short.maxstring = short.maxother = VALUE
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = short.maxarray = 8
    tables = {}
    skip = set(ip.user_ns_hidden) | {"In", "Out", "exit", "quit", "open", "get_ipython"}

    def module(v):
        return (getattr(type(v), "__module__", "") or "").split(".")[0]

    def is_frame(v):
        return module(v) in ("pandas", "geopandas") and hasattr(v, "iloc") and hasattr(v, "columns")

    def is_series(v):
        return module(v) == "pandas" and hasattr(v, "iloc") and not hasattr(v, "columns")

    def is_array(v):
        return module(v) == "numpy" and type(v).__name__ == "ndarray"

    def is_polars(v):
        return module(v) == "polars" and type(v).__name__ == "DataFrame"

    def is_table(v):
        return is_frame(v) or is_series(v) or is_polars(v) or (is_array(v) and v.ndim in (1, 2))

    def value(v):
        if is_frame(v) or is_polars(v):
            return "%d rows × %d columns" % tuple(v.shape)
        if is_series(v):
            return "%d values of %s" % (len(v), v.dtype)
        if is_array(v):
            return "%s of %s" % (" × ".join(map(str, v.shape)), v.dtype) if v.size > 8 else "%s %s" % (v.dtype, short.repr(v.tolist()))
        if isinstance(v, (str, bytes)) and len(v) > VALUE:
            return repr(v[:VALUE]) + "… (%d)" % len(v)
        if isinstance(v, int) and v.bit_length() > 2000:
            return "an integer of %d bits" % v.bit_length()
        try:
            text = short.repr(v)
        except Exception as e:
            text = "<%s>" % type(e).__name__
        if isinstance(v, (list, tuple, dict, set, frozenset)) and len(v) > 8:
            text = "%d: %s" % (len(v), text)
        return text[:VALUE]

    def kids(v):
        """Names and values, lazily."""
        if isinstance(v, dict):
            for k in list(v)[:CHILDREN]:
                yield short.repr(k), v[k]
        elif isinstance(v, (list, tuple)):
            for i, x in enumerate(v[:CHILDREN]):
                yield "[%d]" % i, x
        elif isinstance(v, (set, frozenset)):
            for i, x in zip(range(CHILDREN), v):
                yield "{%d}" % i, x
        elif is_frame(v):
            for i, c in enumerate(list(v.columns)[:CHILDREN]):
                yield str(c), v.iloc[:, i]
        elif is_polars(v):
            for c in v.columns[:CHILDREN]:
                yield c, v[c]
        elif is_array(v) and v.ndim > 0:
            for i in range(min(len(v), CHILDREN)):
                yield "[%d]" % i, v[i]
        elif is_series(v):
            for i in range(min(len(v), CHILDREN)):
                yield str(v.index[i]), v.iloc[i]
        elif hasattr(v, "__dict__") and not isinstance(v, (type, types.FunctionType, types.ModuleType)):
            for k in [k for k in vars(v) if not k.startswith("_")][:CHILDREN]:
                yield k, vars(v)[k]

    def more(v):
        if isinstance(v, (str, bytes, int, float, complex, bool, type(None))):
            return False
        try:
            return next(iter(kids(v)), None) is not None
        except Exception:
            return False

    def item(name, v):
        t = type(v).__name__
        return {"name": str(name)[:VALUE], "type": t, "value": value(v), "more": more(v), "table": is_table(v)}

    def find(path):
        v = ip.user_ns[path[0]]
        for n in path[1:]:
            for i, (_, x) in enumerate(kids(v)):
                if i == n:
                    v = x
                    break
            else:
                raise KeyError("it is not there any more")
        return v

    def listing(q):
        out = []
        for k in sorted(ip.user_ns, key=str.lower):
            v = ip.user_ns[k]
            if k.startswith("_") or k in skip or isinstance(v, types.ModuleType):
                continue
            out.append(item(k, v))
            if len(out) >= NAMES:
                break
        return out

    def children(q):
        return [item(k, v) for k, v in kids(find(q["path"]))]

    def opened(q):
        v = find(q["path"])
        if is_series(v):
            v = v.to_frame()
        elif is_array(v):
            import numpy as np
            v = v.reshape(len(v), -1) if v.ndim == 2 else v.reshape(-1, 1)
        while len(tables) >= TABLES:
            tables.pop(next(iter(tables)))
        number = q["as"]
        tables[number] = {"v": v, "order": None, "sort": None}
        if is_frame(v):
            columns = [{"name": str(c), "type": str(t)} for c, t in zip(v.columns, v.dtypes)]
        elif is_polars(v):
            columns = [{"name": c, "type": str(t)} for c, t in zip(v.columns, v.dtypes)]
        else:
            columns = [{"name": str(i), "type": str(v.dtype)} for i in range(v.shape[1])]
        return {"table": number, "rows": v.shape[0], "columns": columns[:5000]}

    def cell(x):
        if x is None:
            return None
        if isinstance(x, float):
            return "NaN" if x != x else repr(x)
        text = str(x)
        return text if len(text) <= CELL else text[:CELL] + "…"

    def order(t, sort):
        if t["sort"] == sort:
            return t["order"]
        o = None
        if sort:
            v, c, down = t["v"], sort["column"], sort["down"]
            import numpy as np
            if is_frame(v):
                s = v.iloc[:, c].reset_index(drop=True)
                try:
                    o = s.sort_values(ascending=not down, kind="stable", na_position="last").index.to_numpy()
                except TypeError:
                    o = s.astype(str).sort_values(ascending=not down, kind="stable").index.to_numpy()
            elif is_polars(v):
                o = v[v.columns[c]].arg_sort(descending=down, nulls_last=True).to_numpy()
            else:
                o = np.argsort(v[:, c], kind="stable")
                o = o[::-1] if down else o
        t["order"], t["sort"] = o, sort
        return o

    def rows(q):
        t = tables[q["table"]]
        v, a, b, c, d = t["v"], q["from"], min(q["to"], q["from"] + ROWS), q["first"], min(q["last"], q["first"] + COLUMNS)
        o = order(t, q.get("sort"))
        if is_frame(v):
            part = (v.iloc[a:b, c:d] if o is None else v.iloc[o[a:b], c:d])
            labels = [cell(x) for x in part.index]
            columns = [part.iloc[:, i].tolist() for i in range(part.shape[1])]
            cells = [[cell(col[r]) for col in columns] for r in range(len(part))]
        elif is_polars(v):
            part = v[a:b] if o is None else v[o[a:b].tolist()]
            labels = [str(x) for x in (range(a, a + len(part)) if o is None else o[a:b])]
            cells = [[cell(x) for x in r[c:d]] for r in part.rows()]
        else:
            part = v[a:b, c:d] if o is None else v[o[a:b], c:d]
            labels = [str(x) for x in (range(a, a + len(part)) if o is None else o[a:b])]
            cells = [[cell(x) for x in r] for r in part.tolist()]
        return {"labels": labels, "cells": cells}

    def closed(q):
        tables.pop(q["table"], None)
        return {}

    methods = {"list": listing, "children": children, "open": opened, "rows": rows, "close": closed}

    def target(comm, opening):
        @comm.on_msg
        def hear(m):
            data = m["content"]["data"]
            try:
                q = json.loads(data["json"])
                answer = {"id": data["id"], "json": json.dumps(methods[q["method"]](q))}
            except BaseException as e:
                answer = {"id": data.get("id"), "error": "%s: %s" % (type(e).__name__, str(e)[:500])}
            comm.send(answer)

    ip.kernel.comm_manager.register_target("towline", target)
_install(get_ipython())
`

const R = String.raw`
local({
  B <- as.list(setNames(c(@BOUNDS@), c("names", "children", "value", "rows", "columns", "cell", "tables")))
  tables <- new.env(parent = emptyenv())
  cut <- function(s, n) ifelse(nchar(s) > n, paste0(substr(s, 1, n), "\u2026"), s)
  is_table <- function(v) is.data.frame(v) || (is.matrix(v) && is.atomic(v))
  type <- function(v) class(v)[1]
  value <- function(v) {
    if (is_table(v)) return(sprintf("%d rows \u00d7 %d columns", nrow(v), ncol(v)))
    if (is.function(v)) return(cut(paste(trimws(deparse(args(v))[1]), collapse = ""), B$value))
    if (is.environment(v)) return("environment")
    if (is.null(v)) return("NULL")
    if (is.factor(v)) return(cut(sprintf("factor, %d levels: %s", nlevels(v), paste(utils::head(as.character(v), 8), collapse = ", ")), B$value))
    if (is.atomic(v) && length(v) == 1) return(cut(if (is.character(v)) encodeString(v, quote = "\"") else format(v, digits = 15), B$value))
    if (is.atomic(v)) return(cut(sprintf("%d: %s%s", length(v), paste(format(unclass(utils::head(v, 8)), trim = TRUE, digits = 7), collapse = ", "), if (length(v) > 8) ", \u2026" else ""), B$value))
    if (is.list(v)) return(sprintf("list of %d", length(v)))
    cut(paste(utils::capture.output(utils::str(v, max.level = 0, vec.len = 2))[1], collapse = ""), B$value)
  }
  kids <- function(v) {
    if (is.environment(v)) { n <- utils::head(ls(v), B$children); return(list(names = n, get = function(i) get(n[i], envir = v))) }
    if (isS4(v)) { n <- methods::slotNames(v); return(list(names = n, get = function(i) methods::slot(v, n[i]))) }
    if (is.list(v)) {
      k <- min(length(v), B$children)
      n <- names(v)[seq_len(k)]
      if (is.null(n)) n <- rep("", k)
      n <- ifelse(is.na(n) | n == "", sprintf("[[%d]]", seq_len(k)), n)
      return(list(names = n, get = function(i) v[[i]]))
    }
    if (is.atomic(v) && length(v) > 1 && !is.matrix(v)) {
      k <- min(length(v), B$children)
      n <- names(v)[seq_len(k)]
      if (is.null(n)) n <- sprintf("[%d]", seq_len(k))
      return(list(names = n, get = function(i) v[[i]]))
    }
    list(names = character(), get = NULL)
  }
  item <- function(name, v) list(name = name, type = type(v), value = tryCatch(paste(value(v), collapse = " "), error = function(e) "?"), more = length(kids(v)$names) > 0, table = is_table(v))
  find <- function(path) {
    v <- get(path[[1]], envir = globalenv(), inherits = FALSE)
    for (i in path[-1]) v <- kids(v)$get(i + 1)
    v
  }
  text <- function(x) {
    if (is.list(x)) x <- vapply(x, function(e) paste(utils::head(format(e), 3), collapse = ", "), "")
    s <- if (is.factor(x) || inherits(x, c("Date", "POSIXt"))) as.character(x) else if (is.numeric(x)) format(x, digits = 15, trim = TRUE, drop0trailing = TRUE) else as.character(x)
    if (is.numeric(x) && length(x)) s <- vapply(x, function(e) format(e, digits = 15, trim = TRUE), "")
    s <- cut(s, B$cell)
    s[is.na(x)] <- NA
    s
  }
  methods <- list(
    list = function(q) {
      n <- ls(globalenv())
      n <- utils::head(n[order(tolower(n))], B$names)
      lapply(n, function(k) if (bindingIsActive(as.symbol(k), globalenv())) list(name = k, type = "active binding", value = "", more = FALSE, table = FALSE) else item(k, get(k, envir = globalenv())))
    },
    children = function(q) {
      k <- kids(find(q$path))
      lapply(seq_along(k$names), function(i) item(k$names[i], k$get(i)))
    },
    open = function(q) {
      v <- find(q$path)
      while (length(ls(tables)) >= B$tables) rm(list = ls(tables)[1], envir = tables)
      key <- as.character(q$as)
      assign(key, list(v = v, sort = NULL, order = NULL), envir = tables)
      n <- colnames(v)
      if (is.null(n)) n <- sprintf("[,%d]", seq_len(ncol(v)))
      types <- if (is.data.frame(v)) vapply(v, function(c) class(c)[1], "") else rep(typeof(v), ncol(v))
      k <- utils::head(seq_along(n), 5000)
      list(table = q$as, rows = nrow(v), columns = lapply(k, function(i) list(name = n[i], type = types[[i]])))
    },
    rows = function(q) {
      key <- as.character(q$table)
      t <- get(key, envir = tables)
      v <- t$v
      if (!identical(t$sort, q$sort)) {
        t$sort <- q$sort
        t$order <- if (is.null(q$sort)) NULL else { x <- v[, q$sort$column + 1, drop = TRUE]; if (is.list(x)) x <- text(x); order(x, decreasing = q$sort$down, na.last = TRUE, method = "radix") }
        assign(key, t, envir = tables)
      }
      a <- q$from + 1
      b <- min(q$to, q$from + B$rows, nrow(v))
      r <- if (b < a) integer() else if (is.null(t$order)) a:b else t$order[a:b]
      k <- if (ncol(v) <= q$first) integer() else (q$first + 1):min(q$last, q$first + B$columns, ncol(v))
      columns <- lapply(k, function(j) text(if (is.data.frame(v)) v[[j]][r] else v[r, j]))
      labels <- rownames(v)
      labels <- if (is.null(labels)) as.character(r) else if (is.data.frame(v)) as.character(attr(v, "row.names")[r]) else labels[r]
      list(labels = as.list(labels), cells = lapply(seq_along(r), function(i) lapply(columns, function(c) c[i])))
    },
    close = function(q) { suppressWarnings(rm(list = as.character(q$table), envir = tables)); setNames(list(), character()) }
  )
  IRkernel::comm_manager()$register_target("towline", function(comm, opening) {
    comm$on_msg(function(data) {
      answer <- tryCatch({
        q <- jsonlite::fromJSON(data$json, simplifyVector = FALSE)
        list(id = data$id, json = as.character(jsonlite::toJSON(methods[[q$method]](q), auto_unbox = TRUE, null = "null", na = "null", digits = NA)))
      }, error = function(e) list(id = data$id, error = conditionMessage(e)), interrupt = function(e) list(id = data$id, error = "interrupted"))
      comm$send(answer)
    })
  })
})
`

const values = Object.values(BOUNDS).join(', ')

/** The code that makes the target, by language; undefined where there is none. */
export function helperFor(language: string): string | undefined {
  if (language === 'python') return `exec(${JSON.stringify(PYTHON.replace('@BOUNDS@', values))}, {"get_ipython": get_ipython})`
  if (language === 'r') return `invisible(${R.replace('@BOUNDS@', values).trim()})`
  return undefined
}
