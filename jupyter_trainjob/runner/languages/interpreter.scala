// Toree's Scala interpreter with our code in it, compiled beforehand with inkernel.scala and indata.scala (toree.py tells
// how it comes into a kernel). Its kernel takes orders in place of code that would have to be compiled to be run.
package jupyter_trainjob

import com.typesafe.config.Config
import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths}
import org.apache.toree.global.StreamState
import org.apache.toree.kernel.api.{Kernel, KernelLike}
import org.apache.toree.kernel.interpreter.scala.ScalaInterpreter
import org.apache.toree.utils.TaskManager
import scala.concurrent.Future
import scala.tools.nsc.interpreter.IR

/** What the code that is compiled in a kernel finds there. */
private[jupyter_trainjob] object Here { @volatile var kernel: Kernel = _ }

class Interpreter(config: Config) extends ScalaInterpreter(config) {
  private val order = "//trainjob "
  private var tasks: TaskManager = _

  override protected def newTaskManager(): TaskManager = { tasks = super.newTaskManager(); tasks }

  override def init(kernel: KernelLike): org.apache.toree.interpreter.Interpreter = {
    Here.kernel = kernel.asInstanceOf[Kernel]
    super.init(kernel)
  }

  // This class comes from the class path, as Toree's own do now. Jars that Spark is given lie in a loader below it,
  // which Toree takes for its own.
  private lazy val below = Thread.currentThread.getContextClassLoader
  override def _runtimeClassloader: ClassLoader = below
  override def buildClasspath(loader: ClassLoader): String = super.buildClasspath(below)

  // In one piece with what a job has of us: each piece is a run of the compiler.
  override def bindSparkSession(): Unit = ()
  override def bindSparkContext(): Unit = doQuietly {
    interpret("def spark: org.apache.spark.sql.SparkSession = kernel.sparkSession; " +
      "def sc: org.apache.spark.SparkContext = kernel.sparkContext; " +
      "import _root_.jupyter_trainjob._trainjob.{log_metric, log_metrics, progress}")
  }

  override def interpretAddTask(code: String, silent: Boolean): Future[IR.Result] =
    if (!code.startsWith(order)) super.interpretAddTask(code, silent)
    else tasks.add {
      StreamState.withStreams {
        try { follow(code.substring(order.length).trim.split(",", -1).toList.map(plain)); IR.Success }
        catch { case problem: Exception => problem.printStackTrace(); IR.Error }
      }
    }

  private def plain(word: String) = new String(java.util.Base64.getDecoder.decode(word), UTF_8)

  private def follow(words: List[String]): Unit = words match {
    case List("begin", answer, mark, seed) =>
      _trainjob.begin(mark, if (seed.isEmpty) None else Some(seed.toLong))
      Files.write(Paths.get(answer), "{}".getBytes(UTF_8))
    case "adopt" :: seed :: values =>
      val pairs = values.grouped(2).collect { case List(name, value) => name -> value }.toMap
      _trainjob.adopt(pairs, if (seed.isEmpty) None else Some(seed.toLong))
    case List("run", source, answer) => _trainjob.run(source, answer)
    case List("receive", answer, path, name, form) => _trainjob_data.answer(answer)(_trainjob_data.receive(path, name, form))
    case List("give", answer, name, path) => _trainjob_data.answer(answer)(_trainjob_data.give(name, path))
  }
}
