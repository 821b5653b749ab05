# Reads R as a notebook's cell is read, and says where it is no R. It parses and does nothing else: nothing is evaluated.
#
# On standard input texts, each a line with its number of bytes and as many bytes of UTF-8. On standard output one line
# for each: `ok`, or the number of a line (0 where R doesn't tell it) and R's message.

# The line where the first expression begins that is none. R doesn't tell it of every error.
firstBad <- function(text) {
  reads <- function(n) {
    tryCatch(parse(text = text, n = n, keep.source = TRUE, encoding = "UTF-8"), error = function(e) NULL)
  }
  last <- 0L
  low <- 0L
  high <- 1L
  while (!is.null(found <- reads(high)) && length(found) == high) {
    low <- high
    high <- high * 2L
  }
  while (high - low > 1L) {
    middle <- (low + high) %/% 2L
    if (is.null(reads(middle))) high <- middle else low <- middle
  }
  if (low > 0L) last <- attr(reads(low), "srcref")[[low]][3L]
  lines <- strsplit(text, "\n", fixed = TRUE, useBytes = TRUE)[[1L]]
  after <- which(seq_along(lines) > last & !grepl("^[[:space:]]*(#|$)", lines, useBytes = TRUE))
  if (length(after)) after[1L] else max(last, 1L)
}

complaint <- function(bytes) {
  if (any(bytes == as.raw(0L))) {
    return(paste(1L + sum(bytes[seq_len(match(as.raw(0L), bytes))] == as.raw(10L)), "nul character not allowed"))
  }
  text <- rawToChar(bytes)
  Encoding(text) <- "UTF-8"
  if (!reliable && any(bytes > as.raw(127L))) return("ok")
  tryCatch({
    parse(text = text, keep.source = FALSE, encoding = "UTF-8")
    "ok"
  }, error = function(e) {
    message <- strsplit(conditionMessage(e), "\n", fixed = TRUE)[[1L]][1L]
    place <- regmatches(message, regexec("^<text>:([0-9]+):[0-9]+: (.*)$", message))[[1L]]
    if (length(place)) return(paste(place[2L], place[3L]))
    place <- regmatches(message, regexec("^(.*?)(?: on| at)? (?:line ([0-9]+)|\\(<(?:text|input)>:([0-9]+):[0-9]+\\))$",
                                         message, perl = TRUE))[[1L]]
    if (length(place)) return(paste(paste0(place[3L], place[4L]), place[2L]))
    paste(firstBad(text), message)
  })
}

reliable <- isTRUE(l10n_info()[["UTF-8"]])
input <- file("stdin", open = "rb")
repeat {
  size <- readLines(input, 1L, warn = FALSE)
  if (!length(size)) break
  answer <- complaint(readBin(input, "raw", as.integer(size)))
  cat(gsub("[\r\n]+", " ", answer), "\n", sep = "")
  flush(stdout())
}
