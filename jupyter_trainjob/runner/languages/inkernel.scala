// Runs inside Toree's Scala kernel: reads each cell, runs it, and tells how it ended.
//
// Toree reads a cell line by line, so that a line that begins with a dot or with `else` fails; it counts lines from the
// top of what its compiler wraps around them; and it sends what is printed over messages that it may drop. Here a cell
// is compiled whole, and prints go straight into the pipe that is the process's stdout. What is stderr is told by
// marks: mark "e" … mark "o". It is compiled beforehand (interpreter.scala), or else in the kernel. Toree gives it to its
// compiler line by line then: no blank line in a chain.
object _trainjob {
  import java.io.{ByteArrayOutputStream, FileDescriptor, FileOutputStream, InputStream, OutputStream, PrintStream}
  import java.nio.charset.StandardCharsets.UTF_8
  import java.nio.file.{Files, Paths, StandardCopyOption}
  import scala.tools.nsc.interpreter.{IMain, IR}
  private class Exit(val status: Int) extends scala.util.control.ControlThrowable
  private var mark = Array[Byte]()
  private val toree = kernel.interpreter("Scala").get
  private val main = toree.getClass.getMethod("iMain").invoke(toree).asInstanceOf[IMain]
  private val said = toree.getClass.getMethod("lastResultOut").invoke(toree).asInstanceOf[ByteArrayOutputStream]
  private val stdout = new FileOutputStream(FileDescriptor.out)
  private val out = new PrintStream(stdout, true, "UTF-8")
  private val err = new PrintStream(new Marked, true, "UTF-8")
  private class Marked extends OutputStream {
    override def write(one: Int): Unit = write(Array(one.toByte), 0, 1)
    override def write(data: Array[Byte], start: Int, size: Int): Unit = {
      val step = 4096 - 2 * mark.length - 2
      for (at <- start until start + size by step)
        stdout.write(mark ++ "e".getBytes ++ data.slice(at, math.min(at + step, start + size)) ++ mark ++ "o".getBytes)
    }
  }
  private class Nobody extends InputStream {
    override def read(): Int = throw new UnsupportedOperationException("NO_INPUT")
  }
  @volatile private var running = false
  private class Watch extends SecurityManager {
    override def checkPermission(what: java.security.Permission): Unit = ()
    override def checkPermission(what: java.security.Permission, context: Object): Unit = ()
    override def checkExit(status: Int): Unit = if (running) throw new Exit(status)
  }
  try System.setSecurityManager(new Watch) catch { case _: UnsupportedOperationException => () }
  // What they warn of while Spark starts is nothing that the code could do better.
  for (name <- List("org.apache.toree.kernel.protocol.v5.stream.KernelOutputStream", "org.apache.hadoop.util.NativeCodeLoader",
      "org.apache.toree.boot.layer.StandardComponentInitialization$$anon$1", "io.netty.util.internal.MacAddressUtil"))
    org.apache.logging.log4j.core.config.Configurator.setLevel(name, org.apache.logging.log4j.Level.ERROR)
  // What code in a job has of us, as in Python.
  def log_metric(name: String, value: Double): Unit = append(point(name, value, ""))
  def log_metric(name: String, value: Double, step: Double): Unit = append(point(name, value, at(name, step)))
  def log_metrics(values: Map[String, Any]): Unit = append(values.map { case (name, value) => point(name, number(name, value), "") }.mkString)
  def log_metrics(values: Map[String, Any], step: Double): Unit =
    append(values.map { case (name, value) => point(name, number(name, value), at(name, step)) }.mkString)
  def progress(fraction: Double, message: String = ""): Unit = {
    if (!(fraction >= 0 && fraction <= 1))
      throw new IllegalArgumentException(s"progress takes a fraction from 0 to 1, not $fraction: done / all, for example")
    val text = Option(message).getOrElse("").trim.replaceAll("\\s+", " ").take(500)
    val now = System.nanoTime
    val tells = told.synchronized {
      val late = fraction >= 1 || text != told.text || now - told.at >= 100000000L
      if (late) { told.at = now; told.text = text }
      late
    }
    if (tells) stdout.write(mark ++ s"t::trainjob progress $fraction $text\n".getBytes(UTF_8) ++ mark ++ "o".getBytes)
  }
  private object told { var at: Long = System.nanoTime - 1000000000L; var text = "" }
  private lazy val points = java.nio.channels.FileChannel.open(Paths.get(System.getenv("TRAINJOB_METRICS")),
    java.nio.file.StandardOpenOption.CREATE, java.nio.file.StandardOpenOption.WRITE, java.nio.file.StandardOpenOption.APPEND)
  private def append(lines: String): Unit = points.write(java.nio.ByteBuffer.wrap(lines.getBytes(UTF_8)))
  private def point(name: String, value: Double, step: String): String = {
    if (name == null || name.isEmpty || name.exists(_.isControl) || name.getBytes(UTF_8).length > 200)
      throw new IllegalArgumentException(s"a metric's name is a short text on one line, such as 'loss', not '${String.valueOf(name).take(100)}'")
    val text = if (value.isNaN) "nan" else if (value.isInfinite) { if (value > 0) "inf" else "-inf" } else value.toString
    val now = System.currentTimeMillis
    s"$name\t$step\t$text\t${now / 1000}.${(now % 1000 + 1000).toString.substring(1)}\n"
  }
  private def number(name: String, value: Any): Double = value match {
    case one: java.lang.Number => one.doubleValue
    case one: BigDecimal => one.toDouble
    case one: BigInt => one.toDouble
    case one => throw new IllegalArgumentException(s"log_metric('$name', ...) takes one number, not a ${if (one == null) "null" else one.getClass.getSimpleName}")
  }
  private def at(name: String, step: Double): String = {
    if (step.isNaN || step.isInfinite) throw new IllegalArgumentException(s"log_metric('$name', ...) takes a finite step, not $step")
    if (step == math.rint(step) && step.abs < 1e15) step.toLong.toString else step.toString
  }
  // Spark's own option for jars shows them to its tasks, but not to the compiler of cells. That takes a URL's path as it
  // stands, with its %20, for a file's: a jar whose path is another in a URL is given as a link to it.
  for (jars <- sys.env.get("TRAINJOB_JARS") if jars.nonEmpty)
    toree.addJars(jars.split(java.io.File.pathSeparator).map(jar => located(Paths.get(jar))).toSeq: _*)
  private def located(jar: java.nio.file.Path): java.net.URL = {
    val url = jar.toUri.toURL
    if (url.getPath == jar.toString) url else {
      val folder = Files.createTempDirectory("tj-jar")
      val link = Files.createSymbolicLink(folder.resolve("linked.jar"), jar)
      folder.toFile.deleteOnExit()
      link.toFile.deleteOnExit()
      link.toUri.toURL
    }
  }
  private var seed: Option[Long] = None // until the first cell: Spark draws from the same numbers while it starts
  // Makes this object before the cells, with all that is said while it is made.
  def begin(marked: String, first: Option[Long]): Unit = { mark = marked.getBytes(UTF_8); seed = first }
  // The job is known now, for which this kernel was started before. What sys.env shows is made once, when the JVM starts.
  def adopt(values: Map[String, String], first: Option[Long]): Unit = {
    seed = first
    val shown = System.getenv()
    val within = shown.getClass.getDeclaredField("m")
    within.setAccessible(true)
    val made = within.get(shown).asInstanceOf[java.util.Map[String, String]]
    values.foreach { case (name, value) => made.put(name, value) }
  }
  def run(source: String, target: String): Unit = {
    val code = new String(Files.readAllBytes(Paths.get(source)), UTF_8)
    val (oldOut, oldErr, oldIn) = (System.out, System.err, System.in)
    val nobody = new Nobody
    val thread = Thread.currentThread
    val loader = thread.getContextClassLoader
    thread.setContextClassLoader(main.classLoader) // Spark looks there for classes of cells
    System.setOut(out)
    System.setErr(err)
    System.setIn(nobody)
    running = true
    seed.foreach(scala.util.Random.setSeed)
    seed = None
    val told = try Console.withOut(out) { Console.withErr(err) { Console.withIn(nobody) { ending(code) } } } finally {
      running = false
      thread.setContextClassLoader(loader)
      System.setOut(oldOut)
      System.setErr(oldErr)
      System.setIn(oldIn)
    }
    val partial = Paths.get(target + ".part")
    Files.write(partial, told.getBytes(UTF_8))
    Files.move(partial, Paths.get(target), StandardCopyOption.ATOMIC_MOVE)
  }
  private def ending(code: String): String = {
    main.reporter.reset()
    said.reset()
    val request = classOf[IMain].getMethod("requestFromLine", classOf[String], classOf[Boolean])
    request.invoke(main, code, java.lang.Boolean.FALSE).asInstanceOf[Either[IR.Result, main.Request]] match {
      case Left(IR.Success) => """{"status": "ok"}"""
      case Left(IR.Incomplete) =>
        val last = code.count(_ == '\n') + 1
        failure("SyntaxError", "the cell ends in the middle of a statement", List("the cell ends in the middle of a statement"), last)
      case Left(_) => refused(identity)
      case Right(request) =>
        val lines = new Lines(code, request.toCompute, request.lineRep.packaged(wrapping(request)))
        if (!request.compile) refused(lines.ofCell)
        else request.lineRep.callEither("$print") match {
          case Left(problem) => failed(unwrapped(problem), lines, request.lineRep.packageName)
          case Right(_) =>
            main.recordRequest(request)
            if (lines.inserted > 0) show(request.value.name.toString)
            """{"status": "ok"}"""
        }
    }
  }
  private def wrapping(request: AnyRef): String = {
    val code = request.getClass.getMethod("ObjectSourceCode").invoke(request)
    code.getClass.getMethod("preamble").invoke(code).asInstanceOf[String]
  }
  // The compiler counts from the top of its wrapping, and puts lines (";", "val res1 =") before a last expression.
  private class Lines(code: String, computed: String, wrapping: String) {
    private def bare(text: String) = text.split("\n").map(_.trim).toList
    private val before = math.max(0, bare(wrapping).lastIndexOfSlice(bare(computed)))
    private def breaks(text: String) = text.replaceAll("\\s+$", "").count(_ == '\n')
    val inserted = breaks(computed) - breaks(code)
    private val shared = computed.zip(code).takeWhile(pair => pair._1 == pair._2).count(_._1 == '\n') + 1
    def ofCell(line: Int): Int = if (line - before > shared) line - before - inserted else line - before
  }
  private val place = """(?m)^<console>:(\d+): """.r
  private val fault = """(?m)^(?:<console>:(\d+): )?error: (.*?);?$""".r
  private def refused(ofCell: Int => Int): String = {
    val text = said.toString("UTF-8").trim
    said.reset()
    val shown = place.replaceAllIn(text, found => "line " + ofCell(found.group(1).toInt) + ": ").linesIterator.toList
    // Warnings may stand above it. Its line is told beside it, so that it need not say it, too.
    fault.findFirstMatchIn(text) match {
      case Some(found) => failure("CompileError", found.group(2), shown, Option(found.group(1)).fold(0)(line => ofCell(line.toInt)))
      case None => failure("CompileError", shown.headOption.getOrElse("the compiler does not say why"), shown, 0)
    }
  }
  private def unwrapped(problem: Throwable): Throwable = problem match {
    case _: java.lang.reflect.InvocationTargetException | _: ExceptionInInitializerError if problem.getCause != null =>
      unwrapped(problem.getCause)
    case _ => problem
  }
  private def failed(problem: Throwable, lines: Lines, wrapper: String): String = problem match {
    case exit: Exit => failure("SystemExit", exit.status.toString, Nil, 0)
    case death: ThreadDeath => throw death
    case _ =>
      def ours(frame: StackTraceElement) = frame.getFileName == "<console>" && frame.getClassName.startsWith(wrapper)
      def shown(frame: StackTraceElement) =
        if (ours(frame)) "  at " + frame.getMethodName.replace("<init>", "the cell").replaceAll("\\$+anonfun\\$?|\\$\\d+$", "") + " (line " + lines.ofCell(frame.getLineNumber) + ")"
        else "  at " + frame
      def trace(one: Throwable): List[String] = {
        val frames = one.getStackTrace.toList
        val inside = frames.indexWhere(frame => ours(frame) && frame.getMethodName == "<init>")
        val kept = frames.take(if (inside >= 0) inside + 1 else frames.lastIndexWhere(ours) + 1)
        val all = if (kept.isEmpty) frames.take(30) else kept.take(60)
        one.toString :: all.map(shown).distinct ::: Option(one.getCause).filter(_ != one).toList.flatMap(cause => trace(cause) match {
          case first :: rest => ("Caused by: " + first) :: rest
          case Nil => Nil
        })
      }
      val causes = Iterator.iterate(problem)(_.getCause).takeWhile(_ != null).take(20)
      val line = causes.flatMap(_.getStackTrace.find(ours)).toList.headOption.map(frame => lines.ofCell(frame.getLineNumber))
      failure(problem.getClass.getName, String.valueOf(problem.getMessage), trace(problem), line.getOrElse(0))
  }
  private def show(name: String): Unit = main.valueOfTerm(name) match {
    case Some(value) if value != (()) => kernel.display.content("text/plain", scala.runtime.ScalaRunTime.replStringOf(value, 1000).trim)
    case _ => ()
  }
  private def failure(ename: String, evalue: String, traceback: List[String], line: Int): String = {
    val told = traceback.map(quoted).mkString("[", ", ", "]")
    s"""{"status": "error", "ename": ${quoted(ename)}, "evalue": ${quoted(evalue)}, "traceback": $told, "line": ${if (line > 0) line else "null"}}"""
  }
  private def quoted(text: String): String = text.map {
    case '"' => "\\\""
    case '\\' => "\\\\"
    case one if one < ' ' || Character.isSurrogate(one) => f"\\u${one.toInt}%04x"
    case one => one.toString
  }.mkString("\"", "", "\"")
}
