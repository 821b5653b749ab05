# Runs inside the R kernel: reads each cell, runs it, and tells how it ended.
#
# IRkernel collects what a top-level expression prints and sends it when the expression is over. Here it goes straight
# into the pipe that is the kernel's stdout and stderr, as it is printed: nothing is lost when the kernel dies, and a job
# that prints faster than anyone reads is held back. Marks in the pipe tell what is stderr (mark "e" … mark "o") and
# where a displayed object belongs (mark "d<number>;"). They go out through stderr(), for sink() leaves that alone.

mark <- ""
no_input <- ""
shown <- 0L

# Called once, before the user's code.
install <- function(the_mark, refusal, seed) {
  self <- parent.env(environment())
  self$mark <- the_mark
  self$no_input <- refusal
  display <- getOption("jupyter.base_display_func")
  if (!is.function(display)) stop("this is not IRkernel")
  options(jupyter.base_display_func = function(data, metadata = NULL) {
    self$shown <- self$shown + 1L
    cat(self$mark, "d", self$shown, ";", sep = "", file = stderr())
    if (is.null(metadata)) metadata <- list()
    metadata$trainjob_mark <- self$shown
    display(data, metadata)
  })
  cores <- suppressWarnings(as.integer(Sys.getenv("MC_CORES")))
  if (!is.na(cores)) options(mc.cores = cores)
  ours <- list(.trainjob = self, log_metric = log_metric, log_metrics = log_metrics, progress = progress)
  attach(ours, name = "tools:trainjob", warn.conflicts = FALSE)
  if (!is.null(seed)) set.seed(seed)
  invisible()
}

# What code in a job has of us, as in Python.

points <- NULL # the file of points, once it is open
points_number <- -1L # its number among R's connections
points_id <- NULL # what tells it from another that has the number after it
formats <- new.env() # by the name of a metric: of the usual line of it
told_at <- -Inf
told_text <- ""

# Log one point of the metric `name`: `value` at `step` (the next one, if left out).
log_metric <- function(name, value, step = NULL) {
  append_point(point(name, value, step))
  invisible()
}

# Log several metrics, a named vector or list, at one `step`.
log_metrics <- function(values, step = NULL) {
  names <- names(values)
  if (is.null(names)) stop("log_metrics() takes named values, such as c(loss = 0.5, accuracy = 0.9)", call. = FALSE)
  lines <- vapply(seq_along(values), function(at) point(names[[at]], values[[at]], step), "")
  for (line in lines) append_point(line)
  invisible()
}

# Tell how far the job is: a fraction from 0 to 1, and a few words. Cheap to call often while the words stay the same: it
# tells ten a second.
progress <- function(fraction, message = "") {
  if (!is.numeric(fraction) || length(fraction) != 1L || is.na(fraction) || fraction < 0 || fraction > 1) {
    stop("progress takes a fraction from 0 to 1, not ", shortly(fraction), ": done / all, for example", call. = FALSE)
  }
  now <- proc.time()[[3L]]
  text <- trimws(gsub("[[:space:]]+", " ", paste(message[!is.na(message)], collapse = " ")))
  if (fraction < 1 && text == told_text && now - told_at < 0.1) return(invisible())
  told_at <<- now
  told_text <<- text
  line <- paste0("::trainjob progress ", number(fraction), " ", substr(text, 1L, 500L))
  cat(paste0(mark, "t", line, "\n", mark, "o"), file = stderr())
  invisible()
}

# The line of the file that is this point. A loop may ask for millions: the usual one, a measured value (which takes all
# its digits) at a whole step, takes few calls of R's.
point <- function(name, value, step) {
  if (!(is.character(name) && length(name) == 1L && !is.na(name) && nzchar(name) && !is.null(formats[[name]]))) {
    check_name(name)
  }
  if (is.double(value) && length(value) == 1L && !is.object(value) && is.finite(value) && value != signif(value, 15L) &&
    is.numeric(step) && length(step) == 1L && is.finite(step) && step == trunc(step) && abs(step) < 1e15) {
    return(sprintf(formats[[name]], step, value, now()))
  }
  if (!(is.numeric(value) || is.logical(value)) || length(value) != 1L || is.object(value)) refuse_value(name, value)
  if (!(is.null(step) || (is.numeric(step) && length(step) == 1L && is.finite(step)))) refuse_step(name, step)
  at <- if (is.null(step)) "" else number(step)
  sprintf("%s\t%s\t%s\t%.3f", enc2utf8(name), at, number(value), now())
}

# Seconds since 1970, without the class that costs Sys.time() most of its time.
now <- tryCatch(
  {
    .Internal(Sys.time())
    function() .Internal(Sys.time())
  },
  error = function(error) function() unclass(Sys.time()) # an R that has no such thing inside
)

refuse_value <- function(name, value) {
  kind <- if (length(value) == 1L || is.object(value)) class(value)[[1L]] else paste("vector of", length(value))
  stop("log_metric('", name, "', ...) takes one number, not a ", kind, "; of a vector log its mean, say, or each ",
    "element under a name of its own", call. = FALSE)
}

refuse_step <- function(name, step) {
  stop("log_metric('", name, "', ...) takes a finite step, not ", shortly(step), call. = FALSE)
}

check_name <- function(name) {
  fine <- is.character(name) && length(name) == 1L && !is.na(name) && nzchar(name) && validUTF8(name) &&
    nchar(name, "bytes") <= 200L && !grepl("[[:cntrl:]]", name)
  if (!fine) {
    stop("a metric's name is a short text on one line, such as 'loss', not ", shortly(name), call. = FALSE)
  }
  formats[[name]] <- paste0(gsub("%", "%%", enc2utf8(name), fixed = TRUE), "\t%.0f\t%.17g\t%.3f")
}

shortly <- function(value) substr(paste(deparse(value, nlines = 1L)), 1L, 100L)

# As short as it can be read back the same.
number <- function(value) {
  if (!is.finite(value)) return(if (is.na(value)) "nan" else if (value > 0) "inf" else "-inf")
  if (value == trunc(value) && abs(value) < 1e15) return(sprintf("%.0f", value))
  text <- sprintf("%.15g", value)
  if (as.numeric(text) == value) text else sprintf("%.17g", value)
}

# One write at the end of the file, which is whole when this returns: forks have the same file open, and any of them may
# be killed next. A line is shorter than the buffer that it goes through.
append_point <- function(line) {
  still_open <- any(getAllConnections() == points_number) && # closeAllConnections() closes it
    identical(attr(getConnection(points_number), "conn_id"), points_id)
  if (!still_open) open_points()
  writeLines(line, points, useBytes = TRUE)
  flush.connection(points)
}

open_points <- function() {
  points <<- file(Sys.getenv("TRAINJOB_METRICS"), open = "ab")
  points_number <<- as.integer(points)
  points_id <<- attr(points, "conn_id")
}

# Run the cell in the file `source` and leave {status, ename, evalue, traceback, line} in the file `target`.
run <- function(source, target) {
  if (sink.number() > 0L) {
    sink() # the kernel's own: what is printed shall not be collected
    on.exit(sink(nullfile())) # which it will take away
  }
  old <- options(try.outFile = stderr(), keep.source = TRUE)
  on.exit(options(old), add = TRUE)
  put_in_base("readline", function(prompt = "") stop(no_input, call. = FALSE))
  put_in_base("quit", leave)
  put_in_base("q", leave)
  lines <- readLines(source, encoding = "UTF-8", warn = FALSE)
  file <- srcfilecopy("<cell>", lines, isFile = FALSE)
  answer(target, told_by(lines, file))
}

told_by <- function(lines, file) {
  parsed <- tryCatch(
    parse(text = lines, srcfile = file, keep.source = TRUE, encoding = "UTF-8"),
    error = function(error) error
  )
  if (inherits(parsed, "error")) {
    text <- conditionMessage(parsed)
    line <- sub("^<cell>:([0-9]+):.*", "\\1", strsplit(text, "\n")[[1]][1])
    return(failure("SyntaxError", text, paste0("Error: ", text), suppressWarnings(as.integer(line))))
  }
  base <- sys.nframe()
  top <- 0L
  places <- attr(parsed, "srcref")
  withRestarts(
    tryCatch(
      withCallingHandlers(
        {
          for (index in seq_along(parsed)) {
            top <- places[[index]][[1]]
            expression <- parsed[[index]]
            if (is.call(expression)) attr(expression, "srcref") <- places[[index]] # else a compiled loop forgets its lines
            result <- withVisible(eval(expression, globalenv()))
            if (result$visible) show_value(result$value)
          }
          list(status = "ok")
        },
        message = function(one) {
          to_stderr(conditionMessage(one))
          invokeRestart("muffleMessage")
        },
        warning = function(one) {
          if (getOption("warn") < 2L) { # from 2 on it becomes an error, when we leave it alone
            if (getOption("warn") >= 0L) warned(one)
            invokeRestart("muffleWarning")
          }
        },
        interrupt = function(one) {
          invokeRestart("trainjob_stop", failure("Interrupt", "interrupted", "Interrupted", top))
        },
        error = function(one) {
          told <- tryCatch(described(one, sys.calls(), base, file, top), error = function(other) NULL)
          if (!is.null(told)) invokeRestart("trainjob_stop", told)
        }
      ),
      error = function(one) described(one, list(), base, file, top) # no room was left on the stack to describe it there
    ),
    trainjob_stop = function(told) told
  )
}

show_value <- function(value) {
  bundle <- getNamespace("IRkernel")$prepare_mimebundle_kernel(value, function(error) {
    to_stderr(paste0("The value can't be shown: ", conditionMessage(error), "\n"))
  })
  if (length(bundle$data) > 0L) IRdisplay::publish_mimebundle(bundle$data, bundle$metadata)
}

warned <- function(one) {
  to_stderr(paste0("Warning message", within(one), ":\n", conditionMessage(one), "\n"))
}

# " in f(x)", where a function of the user's signalled the condition.
within <- function(condition) {
  call <- conditionCall(condition)
  if (is.null(call) || identical(call, evaluation)) "" else paste0(" in ", deparse(call, nlines = 1L)[[1]])
}

evaluation <- quote(eval(expression, globalenv()))

# An error with its frames; the innermost one whose place is in this cell tells the line.
described <- function(error, calls, base, file, top) {
  line <- top
  text <- character()
  for (number in seq_along(calls)) {
    if (number <= base) next
    call <- calls[[number]]
    place <- attr(call, "srcref")
    ours <- !is.null(place) && identical(attr(place, "srcfile"), file)
    if (ours) line <- place[[1]]
    name <- if (is.name(call[[1]])) as.character(call[[1]]) else ""
    if (name %in% c(".handleSimpleError", "h", "signalCondition", "cnd_signal")) break
    if (name %in% own_frames && !ours && length(text) == 0L) next
    shown <- paste(deparse(call, width.cutoff = 80L, nlines = 1L)[[1]])
    text <- c(text, paste0(shown, if (ours) paste0("   # line ", place[[1]]) else ""))
  }
  if (length(text) > 60L) {
    text <- c(utils::head(text, 30L), sprintf("... %d more ...", length(text) - 60L), utils::tail(text, 30L))
  }
  head <- paste0("Error", within(error), " (line ", line, "): ", conditionMessage(error))
  if (length(text) > 0L) head <- c(head, "Traceback:", paste0("  ", seq_along(text), ". ", text))
  kind <- class(error)[[1]]
  failure(if (kind == "simpleError") "Error" else kind, conditionMessage(error), head, line)
}

own_frames <- c(
  "withRestarts", "withOneRestart", "doWithOneRestart", "docall", "tryCatch", "tryCatchList", "tryCatchOne",
  "doTryCatch", "withCallingHandlers", "withVisible", "eval", "show_value"
)

failure <- function(ename, evalue, traceback, line) {
  list(
    status = "error", ename = clean(ename), evalue = clean(evalue), traceback = I(clean(traceback)),
    line = if (is.na(line)) NULL else line
  )
}

clean <- function(text) iconv(enc2utf8(text), "UTF-8", "UTF-8", sub = "byte")

# quit() ends the cell, as sys.exit() does in Python: on.exit runs, try() does not hold it back.
leave <- function(save = "default", status = 0, runLast = TRUE) {
  if (runLast && is.function(globalenv()$.Last)) globalenv()$.Last()
  status <- as.integer(status)
  invokeRestart("trainjob_stop", failure("SystemExit", as.character(status), character(), NA))
}

put_in_base <- function(name, value) {
  base <- baseenv()
  locked <- bindingIsLocked(name, base)
  if (locked) unlockBinding(name, base)
  assign(name, value, envir = base)
  if (locked) lockBinding(name, base)
}

to_stderr <- function(text) {
  for (piece in pieces(text)) cat(mark, "e", piece, mark, "o", sep = "", file = stderr())
}

# In parts that a pipe takes in one piece.
pieces <- function(text) {
  size <- nchar(text)
  if (is.na(size) || size <= 900L) return(text)
  starts <- seq(1L, size, 900L)
  substring(text, starts, pmin(starts + 899L, size))
}

# What is needed where variables come in or go out; read when it is first asked for.
data_functions <- NULL
data <- function(path) {
  if (is.null(data_functions)) {
    made <- new.env(parent = parent.env(environment()))
    sys.source(path, made, keep.source = FALSE)
    data_functions <<- made
  }
  data_functions
}

# Leave the value as an answer, or the error that arose where it was to be found.
answering <- function(target, value) {
  answer(target, tryCatch(value, error = function(error) list(failure = clean(conditionMessage(error)))))
}

# Leave an answer for the runner.
answer <- function(target, value) {
  partial <- paste0(target, ".part")
  text <- jsonlite::toJSON(value, auto_unbox = TRUE, null = "null", digits = NA)
  connection <- file(partial, "wb")
  writeLines(enc2utf8(as.character(text)), connection, useBytes = TRUE)
  close(connection)
  file.rename(partial, target)
  invisible()
}
