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
install <- function(the_mark, refusal) {
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
  attach(list(.trainjob = self), name = "tools:trainjob", warn.conflicts = FALSE)
  invisible()
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
