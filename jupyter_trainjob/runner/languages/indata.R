# Runs inside the R kernel where variables come in or go out: data frames as frame files, other values as typed JSON.
# docs/architecture.md tells both formats. Read into an environment whose parent is that of inkernel.R.

# Put a data frame, or what R code in a file evaluates to, into the user's variables.

receive_frame <- function(path, name) {
  value <- tryCatch(
    read_frame(path),
    error = function(error) stop("the variable '", name, "' can't be read: ", conditionMessage(error), call. = FALSE)
  )
  assign(name, value, envir = globalenv())
  list()
}

receive_code <- function(path) {
  eval(parse(path, keep.source = FALSE, encoding = "UTF-8"), globalenv())
  list()
}

# Write one variable into a file: {name, size, type, python, format, error}.
give <- function(name, path) {
  told <- list(name = name, size = 0L, type = "", python = "", format = "json", error = "")
  if (!exists(name, envir = globalenv(), inherits = FALSE)) {
    told$error <- paste0("the code did not set a variable '", name, "'")
    return(told)
  }
  partial <- paste0(path, ".part")
  told$error <- tryCatch(
    {
      value <- get(name, envir = globalenv(), inherits = FALSE)
      told$type <- class(value)[[1L]]
      if (is.data.frame(value)) told$format <- "frame"
      lines <- if (is.data.frame(value)) frame_lines(value) else encode(value, name)
      connection <- file(partial, "wb")
      tryCatch(writeLines(lines, connection, useBytes = TRUE), finally = close(connection))
      told$size <- file.size(partial)
      file.rename(partial, path)
      ""
    },
    error = function(error) {
      unlink(partial)
      clean(paste0("'", name, "' can't be brought back: ", substr(conditionMessage(error), 1L, 2000L)))
    }
  )
  told
}

refuse <- function(...) stop(..., call. = FALSE)

# Typed JSON

encode <- function(value, where, depth = 0L) {
  if (depth > 100L) refuse(where, " is nested more than 100 deep")
  if (is.null(value)) return("null")
  if (inherits(value, "POSIXlt")) value <- as.POSIXct(value)
  if (is.list(value)) return(encode_list(value, where, depth))
  if (!is.atomic(value) || inherits(value, "connection")) {
    refuse(where, " is ", what_it_is(value), ", which no other language gets")
  }
  if (length(dim(value)) == 2L) {
    rows <- vapply(seq_len(nrow(value)), function(row) array_of(scalars(as.vector(value[row, ]), where)), "")
    return(array_of(rows))
  }
  if (length(dim(value)) > 2L) refuse(where, " is an array of ", length(dim(value)), " dimensions; send it as a list")
  texts <- scalars(value, where)
  if (!is.null(names(value))) return(map_of(names(value), texts, where))
  if (length(value) == 1L && !inherits(value, "AsIs")) texts else array_of(texts)
}

encode_list <- function(value, where, depth) {
  frame <- is.data.frame(value)
  names <- names(value)
  value <- unclass(value)
  texts <- vapply(seq_along(value), function(at) {
    label <- if (is.null(names)) at else deparse(names[[at]])
    one <- value[[at]]
    if (frame && is.null(dim(one)) && is.atomic(one) && length(one) == 1L) one <- I(one)
    encode(one, paste0(where, "[[", label, "]]"), depth + 1L)
  }, "")
  if (is.null(names)) array_of(texts) else map_of(names, texts, where)
}

what_it_is <- function(value) {
  if (is.function(value)) return("a function")
  if (is.environment(value)) return(if (is.object(value)) paste("an object of class", class(value)[[1L]]) else "an environment")
  if (is.language(value)) return("R code")
  if (inherits(value, "connection")) "a connection" else paste("of class", class(value)[[1L]])
}

array_of <- function(texts) paste0("[", paste(texts, collapse = ", "), "]")

map_of <- function(names, texts, where) {
  if (anyNA(names) || anyDuplicated(names)) refuse("two elements of ", where, " have the same name; rename one")
  text <- paste0("{", paste(strings(names, where), texts, sep = ": ", collapse = ", "), "}")
  if ("$type" %in% names) paste0('{"$type": "map", "value": ', text, "}") else text
}

tagged <- function(kind, texts) paste0('{"$type": "', kind, '", "value": "', texts, '"}')

# Each element as JSON.
scalars <- function(value, where) {
  if (is.factor(value)) value <- as.character(value)
  if (inherits(value, "integer64")) return(ifelse(is.na(value), "null", as.character(value)))
  if (inherits(value, "difftime")) refuse(where, ' is a difference of times; send as.numeric(x, units = "secs")')
  missing <- is.na(value)
  if (inherits(value, "Date")) return(ifelse(missing, "null", tagged("date", days(value, where))))
  if (inherits(value, "POSIXct")) return(ifelse(missing, "null", tagged("datetime", moments(value, where))))
  value <- as.vector(unclass(value))
  if (is.logical(value)) return(ifelse(missing, "null", ifelse(value, "true", "false")))
  if (is.integer(value)) return(ifelse(missing, "null", sprintf("%d", value)))
  if (is.double(value)) {
    texts <- doubles(value)
    whole <- grepl("^-?[0-9]+$", texts)
    texts[whole] <- paste0(texts[whole], ".0")
    texts[is.nan(value)] <- tagged("float", "NaN")
    texts[missing & !is.nan(value)] <- "null"
    texts[value %in% Inf] <- tagged("float", "Infinity")
    texts[value %in% -Inf] <- tagged("float", "-Infinity")
    return(texts)
  }
  if (is.character(value)) return(ifelse(missing, "null", strings(value, where)))
  refuse(where, " holds values of the type ", typeof(value), ", which no other language gets")
}

strings <- function(texts, where) {
  if (length(texts) == 0L) return(character()) # of which paste0 would make one text
  texts <- checked(texts, where)
  found <- gsub('"', '\\"', gsub("\\", "\\\\", texts, fixed = TRUE), fixed = TRUE)
  odd <- grep("[\001-\037]", texts, useBytes = TRUE)
  found[odd] <- vapply(texts[odd], function(one) { # without its brackets and quotes
    text <- as.character(jsonlite::toJSON(one))
    substr(text, 3L, nchar(text) - 2L)
  }, "")
  paste0('"', found, '"')
}

checked <- function(texts, where) {
  texts <- as.character(texts)
  # Asked before enc2utf8, which makes "<ff>" of a byte that is none.
  as_is <- Encoding(texts) == "UTF-8" | (Encoding(texts) != "latin1" & l10n_info()[["UTF-8"]])
  if (!all(validUTF8(texts[as_is & !is.na(texts)]))) {
    refuse(where, " holds text that is not valid in its encoding; see iconv()")
  }
  enc2utf8(texts)
}

# The shortest of 15 and 17 digits that reads back as the same number.
doubles <- function(values) {
  texts <- sprintf("%.15g", values)
  finite <- which(is.finite(values))
  inexact <- finite[exactly(texts[finite]) != values[finite]]
  texts[inexact] <- sprintf("%.17g", values[inexact])
  texts
}

# R's own reader of numbers is off by a last bit now and then.
exactly <- function(texts) {
  if (length(texts) == 0L) return(numeric())
  as.numeric(jsonlite::fromJSON(array_of(texts)))
}

days <- function(values, where) {
  texts <- four_digits(format(values, "%Y-%m-%d"))
  if (!all(grepl("^[0-9]{4}-", texts[!is.na(values)]))) refuse(where, " holds a date outside the years 0 to 9999")
  texts
}

# R writes the year 7 as "7".
four_digits <- function(texts) {
  short <- grep("^[0-9]{1,3}-", texts)
  texts[short] <- paste0(strrep("0", 5L - regexpr("-", texts[short], fixed = TRUE)), texts[short])
  texts
}

# Instants, to the microsecond.
moments <- function(values, where) {
  seconds <- as.numeric(values)
  whole <- floor(seconds)
  micros <- round((seconds - whole) * 1e6)
  whole <- whole + (micros %in% 1e6)
  micros[micros %in% 1e6] <- 0
  texts <- four_digits(format(as.POSIXct(whole, origin = "1970-01-01", tz = "UTC"), "%Y-%m-%dT%H:%M:%S", tz = "UTC"))
  if (!all(grepl("^[0-9]{4}-", texts[!is.na(values)]))) refuse(where, " holds a time outside the years 0 to 9999")
  paste0(texts, ifelse(micros %in% c(0, NA), "", sprintf(".%06.0f", micros)), "Z")
}

# Frame files

MAGIC <- "#trainjob-frame "

frame_lines <- function(frame) {
  if (is.character(attr(frame, "row.names"))) {
    refuse("its row names would be lost: only columns travel. Make them one: data.frame(name = rownames(x), x), ",
      "or drop them: rownames(x) <- NULL")
  }
  names <- names(frame)
  frame <- unclass(frame)
  columns <- lapply(seq_along(names), function(at) column(frame[[at]], paste0("the column '", names[[at]], "'")))
  told <- vapply(seq_along(names), function(at) {
    paste0('{"name": ', strings(names[[at]], "a column's name"), ", ", columns[[at]]$head, "}")
  }, "")
  rows <- length(attr(frame, "row.names"))
  head <- paste0(MAGIC, '{"columns": ', array_of(told), ', "rows": ', sprintf("%d", rows), "}")
  if (length(columns) == 0L || rows == 0L) return(head)
  c(head, do.call(paste, c(lapply(columns, function(one) one$fields), sep = ",")))
}

# What the first line says of it, and its fields.
column <- function(value, where) {
  if (inherits(value, "POSIXlt")) value <- as.POSIXct(value)
  if (is.list(value) || !is.atomic(value)) refuse(where, " is ", if (is.list(value)) "a list" else what_it_is(value),
    "; a column of a frame holds plain values")
  if (!is.null(dim(value))) refuse(where, " is a matrix; make its columns columns of the frame")
  missing <- is.na(value)
  of <- function(type, fields, more = "") {
    fields[missing] <- ""
    list(head = paste0('"type": "', type, '"', more), fields = fields)
  }
  csv <- function(texts) paste0('"', gsub('"', '""', checked(texts, where), fixed = TRUE), '"')
  if (is.factor(value)) {
    known <- levels(value)[!is.na(levels(value))]
    missing <- is.na(as.character(value))
    more <- paste0(', "levels": ', array_of(strings(known, where)), if (is.ordered(value)) ', "ordered": true')
    return(of("category", csv(as.character(value)), more))
  }
  if (inherits(value, "Date")) return(of("date", days(value, where)))
  if (inherits(value, "POSIXct")) {
    zone <- attr(value, "tzone")[1L]
    zone <- if (is.null(zone) || is.na(zone) || !nzchar(zone)) "UTC" else zone
    return(of("datetime", moments(value, where), paste0(', "timezone": ', strings(zone, where))))
  }
  if (inherits(value, "integer64")) return(of("int64", as.character(value)))
  if (inherits(value, "difftime")) refuse(where, ' is a difference of times; send as.numeric(x, units = "secs")')
  value <- as.vector(unclass(value))
  switch(typeof(value),
    logical = of("bool", ifelse(value, "true", "false")),
    integer = of("int64", sprintf("%d", value)),
    double = of("float64", doubles(value)),
    character = of("string", csv(value)),
    refuse(where, " holds values of the type ", typeof(value), ", which no other language gets")
  )
}

read_frame <- function(path) {
  bytes <- readBin(path, "raw", file.size(path))
  first <- match(as.raw(10L), bytes, nomatch = length(bytes) + 1L)
  head <- rawToChar(bytes[seq_len(first - 1L)])
  if (!startsWith(head, MAGIC)) refuse("it is no frame file")
  told <- jsonlite::fromJSON(substring(head, nchar(MAGIC, "bytes") + 1L), simplifyVector = FALSE)
  width <- length(told$columns)
  fields <- split_fields(bytes[-seq_len(first)], told$rows * width)
  made <- lapply(seq_len(width), function(at) {
    read_column(told$columns[[at]], fields[seq.int(at, by = width, length.out = told$rows)])
  })
  names(made) <- vapply(told$columns, function(one) one$name, "")
  attr(made, "row.names") <- .set_row_names(told$rows)
  class(made) <- "data.frame"
  made
}

# All fields, row by row, as they are written: a text stands in quotes, an empty one is missing.
split_fields <- function(bytes, count) {
  quote <- bytes == as.raw(0x22L)
  inside <- cumsum(quote) %% 2L == 1L
  bytes[inside & bytes == as.raw(10L)] <- as.raw(0xffL) # which no UTF-8 has
  bytes[!inside & bytes == as.raw(0x2cL)] <- as.raw(10L)
  returns <- !inside & bytes == as.raw(13L)
  if (any(returns)) bytes <- bytes[!returns]
  fields <- strsplit(rawToChar(bytes), "\n", fixed = TRUE, useBytes = TRUE)
  fields <- if (length(fields) == 0L) character() else fields[[1L]]
  if (length(fields) == count - 1L) fields <- c(fields, "") # the last one is missing, and no line's end follows
  if (length(fields) != count) refuse("it has ", length(fields), " fields and not the ", count, " that its head tells")
  fields
}

read_column <- function(told, fields) {
  missing <- !nzchar(fields)
  where <- paste0("the column '", told$name, "'")
  read <- function(empty, reader) {
    values <- rep(empty, length(fields))
    values[!missing] <- reader(fields[!missing])
    values
  }
  switch(told$type,
    int64 = int64(read(NA_character_, identity), where),
    float64 = read(NA_real_, floats),
    bool = read(NA, function(texts) texts == "true"),
    string = read(NA_character_, unquoted),
    category = factor(read(NA_character_, unquoted), levels = as.character(unlist(told$levels)),
      ordered = isTRUE(told$ordered)),
    date = as.Date(read(NA_character_, identity), "%Y-%m-%d"),
    datetime = instants(read(NA_character_, identity), told$timezone),
    refuse(where, " has the type '", told$type, "', unknown here")
  )
}

int64 <- function(texts, where) {
  known <- which(!is.na(texts))
  values <- rep(NA_real_, length(texts))
  values[known] <- as.numeric(texts[known])
  large <- known[abs(values[known]) > 2^53 | (abs(values[known]) == 2^53 & !grepl("^-?9007199254740992$", texts[known]))]
  if (length(large) > 0L) {
    refuse(where, " holds ", texts[large[[1L]]], ", which R can't hold exactly; send it as text")
  }
  if (all(abs(values[known]) <= .Machine$integer.max)) as.integer(values) else values
}

floats <- function(texts) {
  special <- c("NaN" = NaN, "Inf" = Inf, "-Inf" = -Inf)
  plain <- !texts %in% names(special)
  values <- numeric(length(texts))
  values[plain] <- exactly(texts[plain])
  values[!plain] <- special[texts[!plain]]
  values
}

unquoted <- function(texts) {
  texts <- gsub('^"|"$', "", texts, useBytes = TRUE)
  texts <- gsub('""', '"', texts, fixed = TRUE, useBytes = TRUE)
  texts <- gsub("\xff", "\n", texts, fixed = TRUE, useBytes = TRUE)
  Encoding(texts) <- "UTF-8"
  texts
}

instants <- function(texts, zone) {
  values <- strptime(sub("Z$", "", texts), "%Y-%m-%dT%H:%M:%OS", tz = "UTC")
  values <- as.POSIXct(values, tz = "UTC")
  if (!is.null(zone) && zone %in% OlsonNames()) attr(values, "tzone") <- zone
  values
}
