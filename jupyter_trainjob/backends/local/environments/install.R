# Installs exact versions of source packages into a library: Rscript install.R PACKAGES LIBRARY DOWNLOADS fetch|install
# To fetch runs no code of a package; to install does, and has no network.
# PACKAGES: a line each of name, version and repositories (separated by blanks), separated by tabs.
arguments <- commandArgs(trailingOnly = TRUE)
wanted <- read.delim(arguments[[1]], header = FALSE, quote = "", comment.char = "", colClasses = "character",
                     col.names = c("name", "version", "repositories"))
library_folder <- arguments[[2]]
downloads <- arguments[[3]]
dir.create(library_folder, showWarnings = FALSE, recursive = TRUE)
dir.create(downloads, showWarnings = FALSE, recursive = TRUE)
.libPaths(library_folder)
options(
  timeout = 300, warn = 1,
  HTTPUserAgent = sprintf("R/%s R (%s)", getRversion(), paste(getRversion(), R.version$platform, R.version$arch, R.version$os))
)

fetch <- function(name, version, repositories) {
  file <- sprintf("%s_%s.tar.gz", name, version)
  target <- file.path(downloads, file)
  for (repository in repositories) {
    for (folder in c("src/contrib", file.path("src/contrib/Archive", name))) {
      url <- paste(repository, folder, file, sep = "/")
      status <- suppressWarnings(try(download.file(url, target, mode = "wb", quiet = TRUE), silent = TRUE))
      if (identical(status, 0L) && file.exists(target) && file.size(target) > 0) {
        cat("fetched", url, "\n")
        return(target)
      }
      unlink(target)
    }
  }
  stop(sprintf("%s %s is in none of: %s", name, version, paste(repositories, collapse = ", ")), call. = FALSE)
}

needs <- function(archive, name) {
  folder <- tempfile()
  dir.create(folder)
  on.exit(unlink(folder, recursive = TRUE))
  described <- file.path(name, "DESCRIPTION")
  utils::untar(archive, files = described, exdir = folder)
  fields <- read.dcf(file.path(folder, described), fields = c("Depends", "Imports", "LinkingTo"))
  words <- unlist(strsplit(fields[!is.na(fields)], ","))
  unique(gsub("[[:space:]]|\\(.*", "", words))
}

if (arguments[[4]] == "fetch") {
  invisible(mapply(fetch, wanted$name, wanted$version, strsplit(wanted$repositories, " ", fixed = TRUE)))
  quit("no")
}
archives <- file.path(downloads, sprintf("%s_%s.tar.gz", wanted$name, wanted$version))
names(archives) <- wanted$name
required <- lapply(setNames(wanted$name, wanted$name), function(name) intersect(needs(archives[[name]], name), wanted$name))

installed <- character()
repeat {
  left <- setdiff(wanted$name, installed)
  if (length(left) == 0) break
  ready <- Filter(function(name) all(required[[name]] %in% installed), left)
  if (length(ready) == 0) stop("these packages need each other in a circle: ", paste(left, collapse = ", "), call. = FALSE)
  for (name in ready) {
    cat("installing", name, "\n")
    install.packages(archives[[name]], lib = library_folder, repos = NULL, type = "source", quiet = FALSE,
                     INSTALL_opts = c("--no-docs", "--no-multiarch"))
    if (!dir.exists(file.path(library_folder, name)))
      stop(sprintf("%s %s could not be installed", name, wanted$version[wanted$name == name]), call. = FALSE)
    installed <- c(installed, name)
  }
}
cat("done\n")
